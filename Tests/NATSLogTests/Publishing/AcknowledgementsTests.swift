import CNATS
import Testing

@testable import NATSLog

@Suite("Acknowledgements of a stream")
struct AcknowledgementsTests {
  /// A server may answer so to the repeat of a message that it has taken and not stored; when another server leads the stream
  /// before it is stored, it never is.
  @Test func `a repeat whose message has no place in the stream does not count as stored`() async throws {
    // Messages need the library's own state, which otherwise the first connection makes.
    #expect(nats_Open(-1) == NATS_OK)
    let acknowledgements = Acknowledgements()
    let number = Callbacks.acknowledgements.insert(acknowledgements)
    defer { Callbacks.acknowledgements.remove(number) }
    let errors = await withCheckedContinuation { continuation in
      let call = PublishCall(count: 3, continuation)
      for (offset, (sequence, isRepeat)) in [(0, true), (7, true), (8, false)].enumerated() {
        var message: OpaquePointer?
        #expect(natsMsg_Create(&message, "EVENTS.messages", nil, nil, 0) == NATS_OK)
        if let message { acknowledgements.expect(message, call, offset) }
        var ack = jsPubAck(Stream: nil, Sequence: UInt64(sequence), Domain: nil, Duplicate: isRepeat)
        Acknowledgements.arrived(message, &ack, nil, UnsafeMutableRawPointer(bitPattern: number))
      }
    }
    #expect(errors.map { $0?.isRetryable } == [true, nil, nil])
    #expect(acknowledgements.count == 0)
  }
}

import AggregatorTestSupport
import Foundation
import Testing

@testable import AggregatorStorage

@Suite("Standard output sink", .timeLimit(.minutes(5)))
struct StandardOutputSinkTests {
  @Test func `a full device is told, and may pass`() async throws {
    let descriptor = open("/dev/full", O_WRONLY)
    defer { close(descriptor) }
    let sink = StandardOutputSink(descriptor: descriptor)
    let error = await #expect(throws: SinkError.self) { try await sink.write(messages(["1"]), to: .messages) }
    #expect(error?.isRetryable == true)
    #expect(error?.description.contains("the disk is full") == true)
  }

  @Test func `a reader that is gone is told in words, and the process lives`() async throws {
    let reader = PipeReader()
    let sink = StandardOutputSink(descriptor: reader.writeEnd)
    try await sink.write(messages(["1"]), to: .messages)
    try await reader.goAway()
    let error = await #expect(throws: SinkError.self) { try await sink.write(messages(["2"]), to: .messages) }
    #expect(error?.isRetryable == false)
    #expect(error?.description == "stdout: whoever read it is gone; nothing can be written any more")
    let check = await #expect(throws: SinkError.self) { try await sink.check() }
    #expect(check?.description == error?.description)
    try await reader.end()
  }

  @Test func `a pipe that takes little at a time, and does not block, gets all`() async throws {
    let reader = PipeReader()
    _ = fcntl(reader.writeEnd, F_SETFL, O_NONBLOCK)
    let sink = StandardOutputSink(descriptor: reader.writeEnd)
    let bodies = (0..<50_000).map { "\"\($0)\"" }
    try await sink.write(messages(bodies), to: .messages)
    _ = fcntl(reader.writeEnd, F_SETFL, 0)
    #expect(try await reader.lines() == bodies)
    try await reader.end()
  }

  @Test func `a descriptor that is not open is told`() async throws {
    let sink = StandardOutputSink(descriptor: 1_000_000)
    await #expect(throws: SinkError.self) { try await sink.check() }
    await #expect(throws: SinkError.self) { try await sink.write(messages(["1"]), to: .messages) }
  }
}

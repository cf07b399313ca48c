import AggregatorStorage
import Foundation

extension Message {
  /// The messages in a body, received now.
  static func all(in bytes: some Collection<UInt8>, format: MessageFormat) throws(MessageSyntaxError) -> [Message] {
    let receivedAt = Int64(Date().timeIntervalSince1970 * 1_000_000)
    func rows(_ buffer: UnsafeBufferPointer<UInt8>) -> Result<[Message], MessageSyntaxError> {
      do throws(MessageSyntaxError) {
        let ranges = try MessageReader.messages(in: buffer, format: format)
        return .success(
          ranges.map { Message(body: String(decoding: buffer[$0], as: UTF8.self), receivedAt: receivedAt) })
      } catch {
        return .failure(error)
      }
    }
    let result = bytes.withContiguousStorageIfAvailable(rows) ?? Array(bytes).withUnsafeBufferPointer(rows)
    return try result.get()
  }
}

import LoadSupport

/// Looks whether a store has each of the messages that were acknowledged exactly once and whole: a bit for each number.
struct Audit {
  /// SQL for the number of a message, in ``recordSize`` bytes with the end of the line; of one that is not whole, something else.
  static func record(_ body: String) -> String {
    "CASE WHEN length(\(body)) = \(Request.messageSize) AND substr(\(body), 1, \(Request.start.utf8.count)) = "
      + "'\(Request.start)' THEN substr(\(body), \(Request.start.utf8.count + 1), \(Request.digits)) "
      + "ELSE '\(String(repeating: "?", count: Request.digits))' END"
  }

  private static let recordSize = Request.digits + 1

  private let acknowledged: Int
  private var bits: [UInt64]
  /// Messages that were found, each number once.
  private var found = 0
  private var place = 0
  private var number = 0

  /// Returns how many messages the store has.
  ///
  /// - Throws: ``LoadError`` when they are not those numbered from 0 to `acknowledged`, each once.
  static func count(in store: any Store, acknowledged: Int) throws -> Int {
    var audit = Audit(acknowledged)
    try run(store.records) { try audit.read($0) }
    guard audit.found == acknowledged else {
      throw LoadError(description: "\(acknowledged) messages were acknowledged, and \(audit.found) are stored")
    }
    return audit.found
  }

  private init(_ acknowledged: Int) {
    self.acknowledged = acknowledged
    bits = Array(repeating: 0, count: acknowledged / 64 + 1)
  }

  private mutating func read(_ bytes: UnsafeRawBufferPointer) throws {
    for byte in bytes {
      place += 1
      if place < Self.recordSize {
        guard byte &- 48 < 10 else { throw LoadError(description: "the store has a message that nobody sent") }
        number = number &* 10 &+ Int(byte &- 48)
        continue
      }
      guard number < acknowledged else {
        throw LoadError(description: "message \(number) is stored, of \(acknowledged) that were acknowledged")
      }
      guard bits[number / 64] >> UInt64(number % 64) & 1 == 0 else {
        throw LoadError(description: "message \(number) is stored twice")
      }
      bits[number / 64] |= 1 << UInt64(number % 64)
      found += 1
      (place, number) = (0, 0)
    }
  }
}

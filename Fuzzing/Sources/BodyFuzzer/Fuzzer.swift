import AggregatorStorage

/// Reads a body as the program does: the first byte says how it is coded and what it holds.
///
/// What is checked beside that nothing crashes: messages that are found are in the body, in order and without gaps of anything but
/// white space and punctuation; each of them, read by itself, is one message; an error names a place in the body.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 0 else { return 0 }
  let way = start[0]
  let input = UnsafeBufferPointer(start: start + 1, count: count - 1)
  var body: [UInt8] = []
  if way & 3 == 0 {
    body = Array(input)
  } else {
    let inflater = Inflater(way & 3 == 1 ? .gzip : .deflate, limit: 1 << 20)
    // In two parts, because that is how it comes.
    let middle = input.count / 2
    do {
      try inflater.inflate(UnsafeBufferPointer(rebasing: input[..<middle])) { body += $0 }
      try inflater.inflate(UnsafeBufferPointer(rebasing: input[middle...])) { body += $0 }
    } catch {
      return 0
    }
    precondition(body.count <= 1 << 20)
  }
  let format: MessageFormat = way & 4 == 0 ? .json : .newlineDelimited
  let rules = MessageRules(maximumSize: 1 << 16, identityField: way & 8 == 0 ? nil : "id", requestKey: "key")
  do throws(MessageSyntaxError) {
    for message in try Message.all(in: body, format: format, rules: rules) {
      precondition(message.identity != nil && message.body.utf8.count <= 1 << 16)
      let again = try Message.all(in: Array(message.body.utf8), format: .json)
      precondition(message.body.utf8.first == UInt8(ascii: "[") || again.map(\.body) == [message.body])
    }
  } catch {
    precondition(error.line >= 1 && error.column >= 1)
    precondition(error.line <= body.count { $0 == 0x0A } + 1 && error.column <= body.count + 1)
  }
  return 0
}

/// Cuts a stream of bytes into chunks of whole lines.
struct LineSplitter {
  /// A chunk of whole lines, or the end of a line that was too long to keep.
  enum Piece: Equatable {
    case lines([UInt8])
    case tooLong
  }

  private var rest: [UInt8] = []
  private var isSkipping = false
  let longestLine: Int

  init(longestLine: Int) {
    self.longestLine = longestLine
  }

  /// Takes the next bytes; returns what is whole now.
  mutating func add(_ bytes: ArraySlice<UInt8>) -> [Piece] {
    var pieces: [Piece] = []
    var bytes = bytes
    if isSkipping {
      guard let end = bytes.firstIndex(of: 0x0A) else { return [] }
      pieces.append(.tooLong)
      isSkipping = false
      bytes = bytes[(end + 1)...]
    }
    guard let last = bytes.lastIndex(of: 0x0A) else {
      rest += bytes
      if rest.count > longestLine {
        rest = []
        isSkipping = true
      }
      return pieces
    }
    pieces.append(.lines(rest + bytes[...last]))
    rest = Array(bytes[(last + 1)...])
    return pieces
  }

  /// The stream has ended; returns a last line that lacks its newline.
  mutating func finish() -> [Piece] {
    defer {
      rest = []
      isSkipping = false
    }
    if isSkipping { return [.tooLong] }
    return rest.isEmpty ? [] : [.lines(rest)]
  }
}

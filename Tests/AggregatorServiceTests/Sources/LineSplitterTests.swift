import AggregatorStorage
import AggregatorTestSupport
import Testing

@testable import AggregatorService

@Suite("Lines of a stream")
struct LineSplitterTests {
  private func split(_ chunks: [String], longest: Int = 100) -> [String] {
    var splitter = LineSplitter(longestLine: longest)
    var pieces = chunks.flatMap { splitter.add(Array($0.utf8)[...]) }
    pieces += splitter.finish()
    return pieces.map {
      switch $0 {
      case .lines(let bytes): String(decoding: bytes, as: UTF8.self)
      case .tooLong: "too long"
      }
    }
  }

  @Test func `lines are whole, wherever the stream is cut`() {
    let text = "one\ntwo\n\nthree"
    for cut in 0...text.utf8.count {
      let chunks = [String(text.prefix(cut)), String(text.dropFirst(cut))]
      let pieces = split(chunks)
      #expect(pieces.joined() == text, "cut at \(cut)")
      #expect(pieces.dropLast().allSatisfy { $0.hasSuffix("\n") }, "cut at \(cut)")
    }
  }

  @Test func `a last line without its end counts, an empty stream is nothing`() {
    #expect(split(["a\nb"]) == ["a\n", "b"])
    #expect(split([]) == [])
    #expect(split(["a\n"]) == ["a\n"])
  }

  @Test func `a line that is too long is left out, and the next one is not`() {
    #expect(split(["aaaa", "aaaa", "aa\nb\n"], longest: 5) == ["too long", "b\n"])
    #expect(split(["aaaaaa"], longest: 5) == ["too long"])
  }
}

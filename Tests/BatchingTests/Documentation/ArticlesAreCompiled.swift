import Foundation
import Testing

/// Each piece of Swift in an article stands in `ArticleSamples.swift`, too, so that none shows what does not compile.
@Suite("Articles are compiled")
struct ArticlesAreCompiled {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
  private static let catalogue = folder.appending(path: "../../../Sources/Batching/Batching.docc").standardizedFileURL

  private static var articles: [String] {
    let files = try? FileManager.default.contentsOfDirectory(atPath: catalogue.path)
    return (files ?? []).filter { $0.hasSuffix(".md") }.sorted()
  }

  @Test
  func `there are articles`() {
    #expect(Self.articles.count >= 10)
  }

  @Test(arguments: articles)
  func `each sample of an article is compiled`(article: String) throws {
    let compiled = try Self.lines(of: Self.folder.appending(path: "ArticleSamples.swift"))
    for sample in try Self.samples(of: Self.catalogue.appending(path: article)) {
      let stands = compiled.indices.contains { compiled[$0...].starts(with: sample) }
      #expect(stands, "not in ArticleSamples.swift:\n\(sample.joined(separator: "\n"))")
    }
  }

  /// The samples of an article, in lines without their indentation.
  private static func samples(of article: URL) throws -> [[String]] {
    var samples: [[String]] = []
    var isInside = false
    for line in try lines(of: article) {
      if line.hasPrefix("```") {
        isInside = line == "```swift"
        if isInside { samples.append([]) }
      } else if isInside {
        samples[samples.count - 1].append(line)
      }
    }
    return samples
  }

  /// A file's lines without indentation, empty ones, and imports, which stand at the head of a file.
  private static func lines(of file: URL) throws -> [String] {
    try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
      .map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.isEmpty && !$0.hasPrefix("import ") }
  }
}

import Foundation
import Testing

@testable import AggregatorService

@Suite("The catalogue of options")
struct OptionCatalogueTests {
  private func fields(_ options: ProgramOptions) -> [String: String] {
    Dictionary(uniqueKeysWithValues: Mirror(reflecting: options).children.map { ($0.label ?? "", "\($0.value)") })
  }

  @Test func `each field has one option, and each option one field`() throws {
    let standard = fields(ProgramOptions())
    var reached: [String: String] = [:]
    for option in OptionCatalogue.all {
      let sample = SampleValue.all.first { $0.option.name == option.name }?.one ?? "a.yaml"
      var options = ProgramOptions()
      try option.read(sample, &options)
      let changed = fields(options).filter { standard[$0.key] != $0.value }.map(\.key)
      let field = try #require(changed.first, "\(option.name) changes nothing")
      #expect(changed.count == 1, "\(option.name) changes \(changed)")
      #expect(reached.updateValue(option.name, forKey: field) == nil, "\(field) has two options")
    }
    #expect(Set(reached.keys) == Set(standard.keys))
    #expect(SampleValue.all.count == OptionCatalogue.all.count - 1, "the tests of loading try every option")
  }

  @Test func `defaults and values are shown as they are read`() throws {
    for option in OptionCatalogue.all {
      var options = ProgramOptions()
      try option.read(option.defaultText, &options)
      #expect(options == ProgramOptions(), "\(option.name)")
    }
    for sample in SampleValue.all {
      var options = ProgramOptions()
      try sample.option.read(sample.one, &options)
      var again = ProgramOptions()
      try sample.option.read(sample.option.show(options), &again)
      #expect(options == again, "\(sample.option.name)")
      #expect(!sample.option.isSame(options, ProgramOptions()))
      var copy = ProgramOptions()
      sample.option.copy(options, &copy)
      #expect(copy == options)
    }
  }

  @Test func `every option has words`() {
    for option in OptionCatalogue.all {
      #expect(option.help.hasSuffix("."), "\(option.name)")
      #expect(!option.allowed.isEmpty)
      #expect(!(option.help + option.allowed).contains("|"), "it would end the cell of a table")
      #expect(option.name.wholeMatch(of: /[a-z]+(-[a-z]+)*/) != nil)
      #expect(option.variable.wholeMatch(of: /AGGREGATOR(_[A-Z]+)+/) != nil)
    }
  }

  @Test func `the help page has every option, and fits into 96 columns`() {
    let help = OptionCatalogue.help
    for option in OptionCatalogue.all { #expect(help.contains("  \(option.usage)")) }
    for section in OptionSection.allCases { #expect(help.contains(section.rawValue.uppercased() + ":")) }
    for line in help.split(separator: "\n") { #expect(line.count <= 96, "\(line)") }
  }

  @Test func `the reference page is up to date`() throws {
    let page = URL(fileURLWithPath: #filePath)
      .appendingPathComponent("../../../../docs/configuration.md").standardizedFileURL
    #expect(
      try String(contentsOf: page, encoding: .utf8) == OptionCatalogue.reference,
      "renew it: swift run aggregator reference > docs/configuration.md")
  }

  @Test func `the examples of the reference page can be used`() async throws {
    let page = OptionCatalogue.reference
    let yaml = try #require(page.firstMatch(of: /```yaml\n([^`]*)```/)).1
    let loaded = await load(file: String(yaml))
    #expect(loaded.problems == [])
    #expect(loaded.options.batchSize == 1_000)
    let tokens = try #require(page.firstMatch(of: /```\n(# name[^`]*)```/)).1
    #expect(try Tokens(text: String(tokens)).names == ["web", "batch"])
  }

  // MARK: Suggestions

  @Test(
    arguments: [
      ("bach-size", "batch-size"), ("batchsize", "batch-size"), ("btach-size", "batch-size"), ("lingr", "linger"),
      ("too", "to"), ("max-bdy", "max-body"), ("tls-cert", nil), ("nonsense", nil), ("", nil),
    ] as [(String, String?)])
  func `the nearest name is suggested, and none that is far`(text: String, name: String?) {
    #expect(Suggestion.nearest(to: text, among: OptionCatalogue.byName.keys) == name)
  }

  @Test func `distances`() {
    for (left, right, distance) in [
      ("", "", 0), ("", "ab", 2), ("ab", "ab", 0), ("ab", "ba", 1), ("abc", "acb", 1), ("kitten", "sitting", 3),
      ("flaw", "lawn", 2),
    ] {
      #expect(Suggestion.distance(Array(left), Array(right)) == distance, "\(left) \(right)")
      #expect(Suggestion.distance(Array(right), Array(left)) == distance, "\(right) \(left)")
    }
  }
}

import AggregatorTestSupport
import Foundation
import Testing

@testable import AggregatorService

@Suite("Options together")
struct CheckingTests {
  private let folder: TemporaryFolder
  private let certificate: String
  private let key: String
  private let otherKey: String

  init() throws {
    folder = try TemporaryFolder()
    certificate = folder.file("certificate.pem")
    key = folder.file("key.pem")
    otherKey = folder.file("other.pem")
    for (path, text) in [
      (certificate, Certificates.certificate), (key, Certificates.key), (otherKey, Certificates.otherKey),
    ] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }
  }

  private func problems(_ change: (inout ProgramOptions) -> Void) -> [String] { options(change).problems }

  private func expect(
    _ words: String, sourceLocation: SourceLocation = #_sourceLocation, _ change: (inout ProgramOptions) -> Void
  ) {
    let problems = problems(change)
    #expect(problems.count == 1, "\(problems)", sourceLocation: sourceLocation)
    #expect(problems.first?.contains(words) == true, "\(problems)", sourceLocation: sourceLocation)
  }

  @Test func `the defaults go together`() throws {
    try ProgramOptions().validate()
  }

  @Test func `sizes`() {
    expect("--capacity is 9, but must be at least --batch-size (10)") { ($0.capacity, $0.batchSize) = (9, 10) }
    #expect(problems { ($0.capacity, $0.batchSize) = (10, 10) } == [])
    expect("--concurrency is 0") { $0.concurrency = 0 }
    expect("--max-backoff is 1ms, but must be at least --initial-backoff (20ms)") {
      $0.maximumBackoff = .milliseconds(1)
    }
    expect("--max-journal is 1MiB, but must be at least --max-body (4MiB)") {
      ($0.journal, $0.maximumJournal) = ("j", 1 << 20)
    }
    #expect(problems { $0.maximumJournal = 1 << 20 } == [], "there is no journal")
  }

  @Test func `paths that are the same file`() {
    expect("--journal is the same file as --to, 'messages.db'") { $0.journal = "./a/../messages.db" }
    expect("--dead-letters is the same file as --to") { $0.deadLetters = "messages.db" }
    expect("--dead-letters is the same file as --journal") { ($0.journal, $0.deadLetters) = ("j.db", "./j.db") }
    #expect(problems { ($0.journal, $0.deadLetters) = ("j.db", "d.db") } == [])
    #expect(problems { ($0.target, $0.journal) = (.standardOutput, "messages.db") } == [])
  }

  @Test func `https needs both files, and they are for https alone`() {
    #expect(problems { $0.source = .https(host: "127.0.0.1", port: 1) }.count == 2)
    expect("which needs --tls-key") {
      ($0.source, $0.certificate) = (.https(host: "127.0.0.1", port: 1), certificate)
    }
    expect("--tls-key is '/none', which is no file that can be read") {
      ($0.source, $0.certificate, $0.privateKey) = (.https(host: "127.0.0.1", port: 1), certificate, "/none")
    }
    #expect(
      problems { ($0.source, $0.certificate, $0.privateKey) = (.https(host: "127.0.0.1", port: 1), certificate, key) }
        == [])
    expect("--tls-certificate is given, but --from is http://") { $0.certificate = certificate }
  }

  @Test(arguments: ["0.0.0.0", "::", "10.1.2.3", "example.org", "127.example.org", "127.0.0.0.1", "128.0.0.1"])
  func `beyond loopback it needs tokens, or to be told`(host: String) {
    expect("where others can reach it: give --tokens, or --allow-anonymous") { $0.source = .http(host: host, port: 1) }
    #expect(problems { ($0.source, $0.tokens) = (.http(host: host, port: 1), "t") } == [])
    #expect(problems { ($0.source, $0.allowsAnonymous) = (.http(host: host, port: 1), true) } == [])
  }

  @Test(arguments: ["127.0.0.1", "127.8.9.10", "localhost", "LocalHost", "::1"])
  func `on loopback it needs none`(host: String) {
    #expect(problems { $0.source = .http(host: host, port: 1) } == [])
  }

  @Test func `the operator's address is another one`() {
    expect("--admin is the address of --from") { $0.admin = $0.source }
    #expect(problems { ($0.source, $0.admin) = (.http(host: "::1", port: 0), .http(host: "::1", port: 0)) } == [])
  }

  @Test func `validate throws all of it`() {
    #expect {
      try options { ($0.capacity, $0.concurrency) = (1, 0) }.validate()
    } throws: { error in
      "\(error)".contains("--concurrency is 0") && "\(error)".contains("--capacity is 1")
    }
  }

  // MARK: check

  @Test func `certificate and key have to belong together`() throws {
    _ = try TLSFiles.configuration(certificate: certificate, key: key)
    for (certificate, key, words) in [
      (certificate, otherKey, "does not belong to"), (key, key, "--tls-certificate"),
      (certificate, certificate, "--tls-key"),
      ("/none", key, "--tls-certificate: '/none'"),
    ] {
      #expect {
        try TLSFiles.configuration(certificate: certificate, key: key)
      } throws: { error in
        "\(error)".contains(words)
      }
    }
  }

  @Test func `check opens the files, and says where each value comes from`() async throws {
    let tokens = folder.file("tokens")
    try Data(try NewToken(name: "web").line.utf8).write(to: URL(fileURLWithPath: tokens))
    let arguments = ["--tokens", tokens, "--from", "https://0.0.0.0:1", "--tls-certificate", certificate]
    let good = OptionsCheck(
      await load(arguments + ["--tls-key", key], environment: ["AGGREGATOR_LINGER": "5ms"], file: "batch-size: 7"))
    #expect(good.problems == [])
    #expect(good.report.contains("has 1 token: web"))
    #expect(good.report.contains("belong together"))
    #expect(good.report.contains(/linger +5ms +\(environment\)/))
    #expect(good.report.contains(/batch-size +7 +\(\/.*aggregator.yaml\)/))
    #expect(good.report.contains(/tokens +\/.* +\(command line\)/))
    #expect(good.report.contains(/capacity +100000 +\(default\)/))
    let bad = OptionsCheck(await load(arguments + ["--tls-key", otherKey]))
    #expect(bad.problems.count == 1 && bad.problems[0].contains("does not belong to"), "\(bad.problems)")
    let missing = OptionsCheck(await load(["--tokens", "/none", "--linger", "5"]))
    #expect(missing.problems.count == 2, "\(missing.problems)")
    #expect(missing.problems.contains("--tokens: there is no file of tokens '/none'"))
  }

  @Test func `check warns of tokens that others can write`() async throws {
    let tokens = folder.file("tokens")
    try Data(try NewToken(name: "web").line.utf8).write(to: URL(fileURLWithPath: tokens))
    for (mode, warnings) in [(0o600, 0), (0o644, 0), (0o664, 1), (0o602, 1)] {
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: tokens)
      #expect(OptionsCheck(await load(["--tokens", tokens])).warnings.count == warnings, "\(String(mode, radix: 8))")
    }
  }
}

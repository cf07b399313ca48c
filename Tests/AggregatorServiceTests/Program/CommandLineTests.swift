import AggregatorStorage
import AggregatorTestSupport
import Foundation
import HTTPTypes
import HummingbirdTesting
import NIOCore
import Testing

@testable import AggregatorService

/// What the built program says, started for real.
@Suite("The command line", .timeLimit(.minutes(3)))
struct CommandLineTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  private func run(
    _ arguments: [String], environment: [String: String] = [:]
  ) async throws -> (status: Int32, output: String, errors: String) {
    let program = try ProgramProcess(arguments, environment: environment)
    let exit = try await program.exit()
    return (exit.status, program.output, program.errors)
  }

  private func write(_ text: String, to name: String) throws -> String {
    let path = folder.file(name)
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return path
  }

  // MARK: Help

  @Test(arguments: [["--help"], ["-h"], ["help"], ["--batch-size", "7", "--help"]])
  func `help is a page by section`(arguments: [String]) async throws {
    let (status, output, errors) = try await run(arguments)
    #expect(status == 0 && errors == "")
    for words in ["USAGE: aggregator [OPTIONS]", "BATCHES:", "--batch-size COUNT", "check  ", "token  ", "Exit status"]
    {
      #expect(output.contains(words), "\(words)")
    }
    for line in output.split(separator: "\n") { #expect(line.count <= 100, "\(line)") }
  }

  @Test func `subcommands have pages of their own`() async throws {
    for (arguments, words) in [
      (["help", "check"], "USAGE: aggregator check [OPTIONS]"),
      (["check", "--help"], "USAGE: aggregator check [OPTIONS]"),
      (["token", "--help"], "USAGE: aggregator token <name>"), (["help", "token"], "Authorization: Bearer TOKEN"),
    ] {
      let (status, output, _) = try await run(arguments)
      #expect(status == 0 && output.contains(words), "\(arguments): \(output)")
    }
  }

  @Test func `the version`() async throws {
    let (status, output, _) = try await run(["--version"])
    #expect(status == 0 && output.wholeMatch(of: /\d+\.\d+\.\d+\n/) != nil)
  }

  @Test func `the reference page is that of the catalogue`() async throws {
    let (status, output, _) = try await run(["reference"])
    #expect(status == 0 && output == OptionCatalogue.reference)
  }

  // MARK: check

  @Test func `check shows what is in force`() async throws {
    let file = try write("batch-size: 7\nto: postgres://me:hunter2@host/db\n", to: "a.yaml")
    let (status, output, errors) = try await run(
      ["check", "--linger", "5ms"], environment: ["AGGREGATOR_CONFIG": file, "AGGREGATOR_CAPACITY": "70"])
    #expect(status == 0 && errors == "")
    for option in OptionCatalogue.all { #expect(output.contains("\(option.name) "), "\(option.name)") }
    #expect(output.contains(/batch-size +7 +\(.*a\.yaml\)/))
    #expect(output.contains(/to +postgres:\/\/host\/db +\(.*a\.yaml\)/))
    #expect(output.contains(/linger +5ms +\(command line\)/))
    #expect(output.contains(/capacity +70 +\(environment\)/))
    #expect(!output.contains("hunter2"))
  }

  @Test func `check tells everything that is wrong`() async throws {
    let file = try write("batchsize: 7\nlinger: 5\n", to: "a.yaml")
    let (status, output, errors) = try await run(
      ["check", "--config", file, "--capacity", "3", "--bach-size", "7", "--tokens", "/none"],
      environment: ["AGGREGATOR_GZIPP": "true"])
    #expect(status == 1 && output == "")
    for words in [
      "--bach-size is no option; did you mean --batch-size?",
      "AGGREGATOR_GZIPP is no option; did you mean AGGREGATOR_GZIP?",
      "'batchsize' in the file '\(file)' is no option; did you mean 'batch-size'?", "'5' has no unit",
      "--capacity is 3",
      "--tokens: there is no file of tokens '/none'",
    ] {
      #expect(errors.contains(words), "\(words) in \(errors)")
    }
  }

  @Test func `check starts nothing`() async throws {
    let (status, _, _) = try await run([
      "check", "--to", "sqlite:\(folder.file("a.db"))", "--journal", folder.file("j.db"),
    ])
    #expect(status == 0)
    #expect(!FileManager.default.fileExists(atPath: folder.file("a.db")))
    #expect(!FileManager.default.fileExists(atPath: folder.file("j.db")))
  }

  // MARK: token

  @Test func `a token and its line`() async throws {
    let (status, output, errors) = try await run(["token", "web", "--streams", "messages"])
    #expect(status == 0)
    let secret = try #require(errors.firstMatch(of: /agg_[A-Za-z0-9_-]{43}/)).0
    let tokens = try Tokens(text: output)
    #expect(tokens.authorize("Bearer \(secret)", for: .messages) == .allowed(name: "web"))
    #expect(!output.contains("agg_"), "standard output is what goes into the file")
  }

  @Test func `a token for what is no stream is refused`() async throws {
    for (arguments, words) in [
      (["token"], "<name>"), (["token", "a b"], "'a b' is no name of a token"),
      (["token", "web", "--streams", "A"], "'A' is no name of a stream"),
    ] {
      let (status, output, errors) = try await run(arguments)
      #expect(status == 64 && output == "" && errors.contains(words), "\(errors)")
    }
  }

  // MARK: Serving

  @Test func `what is wrong ends it before it starts`() async throws {
    let file = try write("batch-size: [7]\n", to: "a.yaml")
    for (arguments, environment, status, words) in [
      (["chek"], [:], 64, "'chek' is no subcommand; did you mean check?"),
      (["--config", file], [:], 64, "'batch-size' in the file '\(file)' is a list"),
      (["--config", "/none"], [:], 1, "there is no file '/none'"),
      ([], ["AGGREGATOR_LINGR": "1ms"], 64, "did you mean AGGREGATOR_LINGER?"),
      (["--from", "http://0.0.0.0:0"], [:], 1, "give --tokens, or --allow-anonymous"),
      (["--to", "postgres://u:hunter2@h/d", "--journal"], [:], 64, "--journal needs a value"),
    ] as [([String], [String: String], Int32, String)] {
      let result = try await run(arguments, environment: environment)
      #expect(result.status == status, "\(arguments): \(result.errors)")
      #expect(result.errors.contains(words), "\(arguments): \(result.errors)")
      #expect(!result.errors.contains("hunter2"))
    }
  }

  @Test func `SIGHUP puts tokens and sizes in force, and a broken file changes nothing`() async throws {
    let (one, two) = (try NewToken(name: "one"), try NewToken(name: "two", streams: [try StreamName("orders")]))
    let tokens = try write(one.line, to: "tokens")
    let rest = "from: http://127.0.0.1:0\nto: sqlite:\(folder.file("a.db"))\ntokens: \(tokens)\n"
    let program = try ProgramProcess(["--config", try write(rest, to: "a.yaml")])
    let port = try await program.port()
    func post(_ token: NewToken?, to path: String = "/v1/messages") async throws -> Int {
      var headers: HTTPFields = [.contentType: "application/json"]
      headers[.authorization] = token.map { "Bearer \($0.secret)" }
      let fields = headers
      return try await TestClient.withClient(host: "127.0.0.1", port: port) { client in
        try await client.post(path, headers: fields, body: ByteBuffer(string: "1")).status.code
      }
    }
    #expect(try await post(nil) == 401)
    #expect(try await post(one) == 200)
    #expect(try await post(two) == 401)
    _ = try write(two.line, to: "tokens")
    _ = try write(rest + "batch-size: 7\nlog-level: info\nmax-body: 1KiB\n", to: "a.yaml")
    program.signal(SIGHUP)
    try await eventually("it is reloaded") { program.errors.contains("configuration reloaded") }
    #expect(program.errors.contains("option needs a restart"))
    #expect(try await post(one) == 401)
    #expect(try await post(two) == 403)
    #expect(try await post(two, to: "/v1/streams/orders/messages") != 401)
    _ = try write(rest + "batch-size: many\n", to: "a.yaml")
    program.signal(SIGHUP)
    try await eventually("it is refused") { program.errors.contains("'many' is no count") }
    #expect(try await post(two) == 403)
    program.signal(SIGTERM)
    #expect(try await program.exit() == .init(status: 0))
  }

  @Test func `it runs from a file`() async throws {
    let file = try write(
      "from: http://127.0.0.1:0\nto: sqlite:\(folder.file("a.db"))\nbatch-size: 7\nadmin: none\n", to: "a.yaml")
    let program = try ProgramProcess(["--config", file])
    _ = try await program.port()
    program.signal(SIGTERM)
    #expect(try await program.exit() == .init(status: 0))
    #expect(FileManager.default.fileExists(atPath: folder.file("a.db")))
  }
}

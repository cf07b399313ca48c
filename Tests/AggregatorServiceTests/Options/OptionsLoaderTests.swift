import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Testing

@testable import AggregatorService

@Suite("Loading options")
struct OptionsLoaderTests {
  private func expected(_ sample: SampleValue, _ text: String) throws -> ProgramOptions {
    var options = ProgramOptions()
    try sample.option.read(text, &options)
    return options
  }

  /// What stays when the option itself is looked at, and not what it makes together with others.
  private func isRead(_ loaded: LoadedOptions, _ sample: SampleValue, _ text: String) throws -> Bool {
    sample.option.isSame(loaded.options, try expected(sample, text)) && !loaded.isMisuse
  }

  // MARK: Places

  @Test(arguments: SampleValue.all)
  func `each option is read from all three places`(sample: SampleValue) async throws {
    let name = sample.option.name
    for arguments in [["--\(name)=\(sample.one)"], sample.option.placeholder == nil ? [] : ["--\(name)", sample.one]]
    where !arguments.isEmpty {
      let loaded = await load(arguments)
      #expect(try isRead(loaded, sample, sample.one), "\(loaded.words)")
      #expect(loaded.origins == [name: .commandLine])
    }
    let fromVariable = await load(environment: [sample.option.variable: sample.one])
    #expect(try isRead(fromVariable, sample, sample.one), "\(fromVariable.words)")
    #expect(fromVariable.origins == [name: .environment])
    let fromFile = await load(file: "\(name): \(sample.one)\n")
    #expect(try isRead(fromFile, sample, sample.one), "\(fromFile.words)")
    #expect(fromFile.origin(of: sample.option).name.hasSuffix("aggregator.yaml"))
  }

  @Test(arguments: SampleValue.all)
  func `the command line wins over the environment, and that over the file`(sample: SampleValue) async throws {
    let name = sample.option.name
    let file = "\(name): \(sample.malformed.isEmpty ? "''" : sample.malformed)\n"
    let all = await load(
      ["--\(name)=\(sample.one)"], environment: [sample.option.variable: sample.malformed], file: file)
    #expect(try isRead(all, sample, sample.one), "\(all.words)")
    let two = await load(environment: [sample.option.variable: sample.other], file: file)
    #expect(try isRead(two, sample, sample.other), "\(two.words)")
  }

  @Test(arguments: SampleValue.all)
  func `a malformed value is an error that says where it is`(sample: SampleValue) async throws {
    let name = sample.option.name
    let text = sample.malformed
    for (loaded, place) in [
      (await load(["--\(name)=\(text)"]), "--\(name): "),
      (await load(environment: [sample.option.variable: text]), "the environment's \(sample.option.variable): "),
      (await load(file: "\(name): \(text.isEmpty ? "''" : text)\n"), "'\(name)' in the file '"),
    ] {
      #expect(loaded.problems.filter(\.isMisuse).count == 1)
      #expect(loaded.words.contains(sample.words), "\(loaded.words)")
      #expect(loaded.words.contains(place), "\(loaded.words)")
      #expect(sample.option.isSame(loaded.options, ProgramOptions()))
    }
  }

  @Test func `nothing given is the defaults`() async {
    let loaded = await load(environment: ["PATH": "/bin", "AGGREGATORS": "1"])
    #expect(loaded.options == ProgramOptions())
    #expect(loaded.problems == [])
    #expect(loaded.origins == [:])
  }

  @Test func `none takes away what the file gives`() async {
    let loaded = await load(["--journal", "none"], file: "journal: a.db\nadmin: none\n")
    #expect(loaded.problems == [])
    #expect(loaded.options.journal == nil)
    #expect(loaded.options.admin == nil)
  }

  // MARK: The command line

  @Test func `values may have commas and equals signs, and the last of several counts`() async {
    let uri = "postgres://u@one,two/db?options=a=b"
    let loaded = await load(["--to", "sqlite:x", "--to=\(uri)", "--journal", "a,b=c", "--gzip", "--id-field", "-"])
    #expect(loaded.problems == [])
    #expect(loaded.options.target == .postgres(uri: uri))
    #expect(loaded.options.journal == "a,b=c")
    #expect(loaded.options.compressesFiles)
    #expect(loaded.options.identityField == "-")
  }

  @Test(
    arguments: [
      (["--bach-size", "7"], "--bach-size is no option; did you mean --batch-size?"),
      (["--bach-size=7"], "--bach-size is no option; did you mean --batch-size?"),
      (["--nonsense"], "--nonsense is no option"),
      (["--to"], "--to needs a value: sqlite:PATH"),
      (["--to", "--from", "stdin"], "--to needs a value"),
      (["stdin"], "'stdin' is no option: options begin with --"),
      (["-x"], "'-x' is no option"), (["--"], "'--' is no option"),
      (["--gzip", "true"], "'true' is no option"),
      (["--batch-size", "7", ""], "'' is no option"),
    ])
  func `what is no option is refused`(arguments: [String], words: String) async {
    let loaded = await load(arguments)
    #expect(loaded.problems.count == 1, "\(loaded.words)")
    #expect(loaded.isMisuse)
    #expect(loaded.words.contains(words), "\(loaded.words)")
  }

  // MARK: The environment

  @Test func `unknown variables are refused, but for those of Kubernetes`() async {
    let loaded = await load(environment: ["AGGREGATOR_LINGR": "1ms", "AGGREGATOR_ZZZZZZ": ""])
    #expect(
      loaded.words == """
        the environment's AGGREGATOR_LINGR is no option; did you mean AGGREGATOR_LINGER?
        the environment's AGGREGATOR_ZZZZZZ is no option
        """)
    let kubernetes = await load(environment: [
      "AGGREGATOR_SERVICE_HOST": "10.0.0.1", "AGGREGATOR_SERVICE_PORT": "80", "AGGREGATOR_SERVICE_PORT_HTTP": "80",
      "AGGREGATOR_PORT": "tcp://10.0.0.1:80", "AGGREGATOR_PORT_80_TCP": "tcp://10.0.0.1:80",
      "AGGREGATOR_PORT_80_TCP_PROTO": "tcp", "AGGREGATOR_PORT_80_TCP_PORT": "80",
      "AGGREGATOR_PORT_80_TCP_ADDR": "10.0.0.1",
    ])
    #expect(kubernetes.problems == [])
  }

  @Test func `the environment can name the file`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.yaml")
    try Data("batch-size: 7".utf8).write(to: URL(fileURLWithPath: path))
    let loaded = await load(environment: ["AGGREGATOR_CONFIG": path])
    #expect(loaded.problems == [])
    #expect(loaded.options.batchSize == 7)
    #expect(loaded.options.file == path)
  }

  // MARK: The file

  @Test(
    arguments: [
      ("batchsize: 7", "'batchsize' in the file ", "is no option; did you mean 'batch-size'?"),
      ("nonsense: 7", "'nonsense' in the file ", "is no option"),
      ("limits:\n  max-body: 7", "'limits.max-body' in the file ", "write 'max-body' at the left margin"),
      ("batch-size:\n  linger: 7", "'batch-size.linger'", "write 'linger' at the left margin"),
      ("batch-size: [7, 8]", "'batch-size' in the file ", "is a list: give one value, 1 to 1000000"),
      ("config: a.yaml", "'config' in the file ", "cannot be there"),
      ("batch-size: 7\nbatch-size: 8", "cannot be understood", "'batch-size'"),
      ("to: [", "cannot be understood", "did not find expected"),
      ("batch-size: 7\n\tlinger: 8", "cannot be understood", "2:"),
      ("- 7", "cannot be understood", "not a mapping"), ("7", "cannot be understood", "not a mapping"),
      ("{[a]: 7}", "cannot be understood", "not convertible to string"),
    ])
  func `a file that makes no sense is refused`(file: String, place: String, words: String) async {
    let loaded = await load(file: file)
    #expect(loaded.problems.count == 1 && loaded.isMisuse, "\(loaded.words)")
    #expect(loaded.words.contains(place) && loaded.words.contains(words), "\(loaded.words)")
  }

  @Test(arguments: ["", "\n\n", "# all\n  # is\n\t# comment", "{}"])
  func `a file without keys is as none`(file: String) async {
    let loaded = await load(file: file)
    #expect(loaded.problems == [])
    #expect(loaded.origins.keys.sorted() == ["config"])
  }

  @Test func `a file that is not there, or none, is no misuse`() async throws {
    let folder = try TemporaryFolder()
    let missing = await load(["--config", folder.file("none.yaml")])
    #expect(missing.words.hasPrefix("there is no file '"))
    let directory = await load(["--config", FileManager.default.temporaryDirectory.path])
    #expect(directory.words.contains("cannot be read"))
    #expect(!missing.isMisuse && !directory.isMisuse)
  }

  @Test func `a file that is not UTF-8 is refused`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.yaml")
    try Data([0x61, 0x3A, 0x20, 0xFF]).write(to: URL(fileURLWithPath: path))
    #expect(await load(["--config", path]).words.contains("it is not UTF-8"))
  }

  // MARK: Together

  @Test func `all problems are told at once, and none that only follows from another`() async {
    let loaded = await load(
      ["--bach-size", "1", "--batch-size", "many", "--capacity", "3", "--max-backoff", "1ms"],
      environment: ["AGGREGATOR_LINGER": "5"])
    #expect(
      loaded.words == """
        --bach-size is no option; did you mean --batch-size?
        --batch-size: 'many' is no count: give a whole number, 1 to 1000000
        the environment's AGGREGATOR_LINGER: '5' has no unit: give 5ms for milliseconds or 5s for seconds
        --max-backoff is 1ms, but must be at least --initial-backoff (20ms)
        """)
  }

  @Test(
    arguments: [
      "postgres://user:hunter2@host/db", "postgres//user:hunter2@host", "hunter2@host", "pg://user:hunter2@host/db",
      "postgres://user:hunter2/x@host/db", "https://user:hunter2?@host/x", "https://host/?password=hunter2",
      "postgres:hunter2@host", "http:///hunter2@host",
    ])
  func `a password in a target is never shown`(target: String) async {
    for loaded in [
      await load(["--to", target]), await load(environment: ["AGGREGATOR_TO": target]),
      await load(file: "to: \(target)"), await load(file: "to: \(target)\nto: \(target)"),
      await load(file: "to: \(target)\n\tx"),
    ] {
      #expect(!loaded.words.contains("hunter2"), "\(loaded.words)")
      #expect(!OptionsCheck(loaded).report.contains("hunter2"))
      #expect(!"\(loaded.options.target)".contains("hunter2"))
    }
  }
}

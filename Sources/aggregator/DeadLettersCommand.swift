import AggregatorService
import AggregatorStorage
import ArgumentParser
import Foundation
import Logging

/// `aggregator dead-letters`: what an operator does with messages that a sink refused for good.
struct DeadLettersCommand: AsyncParsableCommand {
  private static let commandConfiguration = CommandConfiguration(
    commandName: "dead-letters",
    abstract: "Shows, stores again or drops messages that could not be stored.",
    discussion: """
      Dead letters are in the journal's file (--journal), or in one of their own (--dead-letters). It may be in use by a \
      running program.

        aggregator dead-letters list --journal journal.db
        aggregator dead-letters show 17 --journal journal.db
        aggregator dead-letters replay --all --journal journal.db --to sqlite:messages.db
        aggregator dead-letters drop 17 18 --journal journal.db
      """,
    subcommands: [List.self, Show.self, Replay.self, Drop.self])

  /// Its help says what it is a part of, because it is run as a command of its own.
  static var configuration: CommandConfiguration {
    var configuration = commandConfiguration
    configuration._superCommandName = "aggregator"
    return configuration
  }

  /// Where the letters are.
  struct File: ParsableArguments {
    @Option(
      help: .init("The journal whose dead letters are meant. (environment: AGGREGATOR_JOURNAL)", valueName: "path"))
    var journal: String?

    @Option(
      help: .init("The file of dead letters. (environment: AGGREGATOR_DEAD_LETTERS)", valueName: "path"))
    var deadLetters: String?

    func validate() throws {
      if journal != nil, deadLetters != nil {
        throw ValidationError("--journal and --dead-letters are both given: give the one where the letters are")
      }
      if path == nil { throw ValidationError("say where the dead letters are: give --journal or --dead-letters") }
    }

    private var path: String? {
      let environment = ProcessInfo.processInfo.environment
      return deadLetters ?? journal ?? environment["AGGREGATOR_DEAD_LETTERS"] ?? environment["AGGREGATOR_JOURNAL"]
    }

    /// Does something with the letters; errors come out as the one line that they are.
    func use(_ work: (DeadLetters) async throws -> Int32) async throws {
      let status: Int32
      do {
        let letters = try DeadLetters(path: path ?? "", mustExist: true)
        do {
          status = try await work(letters)
        } catch {
          try? await letters.close()
          throw error
        }
        try await letters.close()
      } catch {
        Self.complain("\(error)")
        throw ArgumentParser.ExitCode(AggregatorService.ExitCode.failure.status)
      }
      if status != 0 { throw ArgumentParser.ExitCode(status) }
    }

    static func complain(_ text: String) {
      try? FileHandle.standardError.write(contentsOf: Data("aggregator: \(text)\n".utf8))
    }
  }

  /// Which letters.
  struct Choice: ParsableArguments {
    @Argument(help: .init("The numbers of letters, as `list` shows them.", valueName: "id"))
    var ids: [Int64] = []

    @Flag(help: "All of them.")
    var all = false

    @Option(help: .init("All of one stream.", valueName: "name"), transform: streamName)
    var stream: StreamName?

    func validate() throws {
      guard [!ids.isEmpty, all, stream != nil].count(where: { $0 }) == 1 else {
        throw ValidationError("say which dead letters are meant: give their numbers, or --stream NAME, or --all")
      }
    }

    var selection: DeadLetters.Selection {
      stream.map { .stream($0) } ?? (all ? .all : .ids(ids))
    }
  }
}

/// Reads the name of a stream; what is wrong with it is the parser's to tell.
private func streamName(_ text: String) throws -> StreamName {
  do {
    return try StreamName(text)
  } catch {
    throw ValidationError("\(error)")
  }
}

// MARK: - Looking

extension DeadLettersCommand {
  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists dead letters, oldest first, without their contents.")

    @OptionGroup var file: File

    @Option(help: .init("Only those of one stream.", valueName: "name"), transform: streamName)
    var stream: StreamName?

    @Option(help: .init("The most that are listed.", valueName: "count"))
    var limit = 100

    @Option(help: .init("Only those after this one.", valueName: "id"))
    var after: Int64 = 0

    @Flag(help: "One JSON object a line.")
    var json = false

    func validate() throws {
      if limit < 1 { throw ValidationError("--limit is \(limit), but must be 1 or more") }
    }

    func run() async throws {
      try await file.use { letters in
        // One more tells whether there are others.
        let found = try await letters.list(
          stream.map { .stream($0) } ?? .all, limit: limit.addingCapped(1), after: after)
        let listed = found.prefix(limit)
        if json {
          for letter in listed { print(try DeadLetterText.json(letter)) }
        } else {
          print(DeadLetterText.table(Array(listed)))
          if found.count > limit, let last = listed.last {
            print("There are more: --after \(last.id), or a larger --limit.")
          }
        }
        return 0
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Shows one dead letter with its contents.")

    @OptionGroup var file: File

    @Argument(help: .init("Its number.", valueName: "id"))
    var id: Int64

    func run() async throws {
      try await file.use { letters in
        guard let letter = try await letters.letter(id) else { throw ProgramError("there is no dead letter \(id)") }
        print(DeadLetterText.full(letter))
        return 0
      }
    }
  }
}

// MARK: - Doing

extension DeadLettersCommand {
  struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Stores dead letters, and drops those that are stored.",
      discussion: """
        Those that are refused again stay, with the new error. Exit status: 0 all were stored; 74 some were not.
        """)

    @OptionGroup var file: File
    @OptionGroup var choice: Choice

    @Option(
      help: .init("Where they are stored, as the program's --to. (environment: AGGREGATOR_TO)", valueName: "target"))
    var to: String?

    func run() async throws {
      guard let text = to ?? ProcessInfo.processInfo.environment["AGGREGATOR_TO"] else {
        throw ValidationError("say where to store them: give --to TARGET, such as sqlite:messages.db")
      }
      try await file.use { letters in
        var options = ProgramOptions()
        options.target = try Target(text)
        let sink = try await SinkFactory.open(options, preparing: nil, logger: Logger(label: "aggregator"))
        let replay: DeadLetters.Replay
        do {
          replay = try await letters.replay(choice.selection, into: sink)
        } catch {
          try? await sink.close()
          throw error
        }
        try await sink.close()
        print("stored \(replay.stored), refused \(replay.refused)")
        if let error = replay.stoppedBy { File.complain("stopped, and left the others as they were: \(error)") }
        let isDone = replay.stoppedBy == nil && replay.refused == 0
        return isDone ? 0 : AggregatorService.ExitCode.notStored.status
      }
    }
  }

  struct Drop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes dead letters for good.")

    @OptionGroup var file: File
    @OptionGroup var choice: Choice

    func run() async throws {
      try await file.use { letters in
        print("dropped \(try await letters.drop(choice.selection))")
        return 0
      }
    }
  }
}

extension Int {
  /// The sum, or the largest number where that is too large.
  fileprivate func addingCapped(_ other: Int) -> Int {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}

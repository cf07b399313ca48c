import AggregatorTestSupport
import Foundation
import Synchronization
import Testing

@testable import AggregatorStorage

@Suite("Journal and kill -9")
struct JournalKillTests {
  private final class Counter: Sendable {
    let value = Atomic(0)
  }

  /// The process that appends says of each request that it is durable, in a file beside the journal; then it is killed, at no
  /// moment in particular.
  @Test func `what was said to be durable is there after kill -9, and no request in part`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("journal.db")
    for round in 0..<4 {
      await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, round = round as Int] in
        let journal = try Journal(path: path, maximumBytes: 1 << 30)
        _ = FileManager.default.createFile(atPath: path + ".said\(round)", contents: nil)
        let said = try FileHandle(forWritingTo: URL(fileURLWithPath: path + ".said\(round)"))
        let count = Counter()
        Thread.detachNewThread {
          while count.value.load(ordering: .relaxed) <= 40 * round { usleep(100) }
          kill(getpid(), SIGKILL)
        }
        await withThrowingTaskGroup(of: Void.self) { group in
          for writer in 0..<8 {
            group.addTask {
              for number in 0... {
                let name = "\(round)-\(writer)-\(number)"
                let messages = (0..<3).map { Message(body: "\"\(name)-\($0)\"", receivedAt: 1) }
                _ = try await journal.append([JournalRequest(stream: .messages, messages: messages)])
                try said.write(contentsOf: Data("\(name)\n".utf8))
                count.value.add(1, ordering: .relaxed)
              }
            }
          }
        }
      }
      let journal = try Journal(path: path, maximumBytes: 1 << 30)
      let found = Set(try await journal.entries(after: 0, limit: .max).map(\.message.body))
      let said = try String(contentsOfFile: path + ".said\(round)", encoding: .utf8).split(separator: "\n")
      #expect(!said.isEmpty, "the process was killed before it had begun")
      for name in said {
        #expect((0..<3).allSatisfy { found.contains("\"\(name)-\($0)\"") }, "\(name) is lost")
      }
      #expect(found.count.isMultiple(of: 3))
      #expect(journal.usage.messages == found.count)
      try await journal.close()
    }
  }
}

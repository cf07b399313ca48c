// Group commit: each caller gets its answer when its row is on the disk, and many callers share one transaction.
//
//   swift run -c release --package-path Examples GroupCommit

import Batching
import Foundation
import GRDB

/// What a caller wants booked, and gets back: the number of its row.
struct Booking: Sendable {
  var account: Int
  var amount: Int
}

@main
struct GroupCommit {
  static func main() async throws {
    for batchSize in [1, 100] {
      let file = FileManager.default.temporaryDirectory.appending(path: "bookings-\(UUID().uuidString).db").path
      defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: file + suffix) } }
      var settings = Configuration()
      settings.prepareDatabase { database in
        try database.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
      }
      let queue = try DatabaseQueue(path: file, configuration: settings)
      try await queue.write { database in
        try database.execute(sql: "CREATE TABLE booking (id INTEGER PRIMARY KEY, account INTEGER, amount INTEGER)")
      }

      // `linger: .zero`: a transaction has what came while the one before was committed, and nobody waits for company.
      let bookings = try RequestAggregator<Booking, Int64>(
        configuration: .init(batchSize: batchSize, linger: .zero)
      ) { batch in
        try await queue.write { database in
          let insert = try database.makeStatement(sql: "INSERT INTO booking (account, amount) VALUES (?, ?)")
          return try batch.map { booking in
            try insert.execute(arguments: [booking.account, booking.amount])
            return database.lastInsertedRowID
          }
        }
      }

      let start = ContinuousClock.now
      let callers = 64
      let each = 50
      async let running: Void = bookings.run()
      try await withThrowingTaskGroup { group in
        for caller in 0..<callers {
          group.addTask {
            for number in 0..<each { _ = try await bookings.send(Booking(account: caller, amount: number)) }
          }
        }
        try await group.waitForAll()
      }
      bookings.shutdown()
      try await running
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      let rows = try await queue.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM booking") ?? 0 }
      let commits = bookings.statistics.batches.values.reduce(0, +)
      print(
        "batch size \(batchSize): \(rows) rows in \(commits) transactions, "
          + "\(Int(Double(callers * each) / seconds)) answers a second")
    }
  }
}

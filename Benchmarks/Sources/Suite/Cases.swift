/// All that is timed side by side; names are what the goals and the tables refer to.
struct Cases {
  let scale: Double
  let channels: ExternalPeer?
  let disruptor: ExternalPeer?

  static let floor = "floor: append to an array, drop it every 512"
  static let lock = "a lock: `Mutex`, append, drop every 512"

  private func count(_ messages: Int) -> Int { max(Int(Double(messages) * scale), 6400) }

  var floors: [Case] {
    [
      Case(Self.floor, messages: count(2_000_000)) { appendToArray($0) },
      Case(Self.lock, messages: count(2_000_000)) { appendUnderLock($0) },
    ]
  }

  var ours: [Case] {
    // So many that a round takes some 40 ms, as those of the peers do: to start 64 threads and a run takes one of them.
    let many = count(10_000_000)
    let some = count(400_000)
    let keyed = count(2_000_000)
    return [
      Case("`trySend`, 1 producer", messages: many) { try await trySend($0, batchSize: 512, producers: 1) },
      Case("`trySend`, 2 producers", messages: many) { try await trySend($0, batchSize: 512, producers: 2) },
      Case("`trySend`, 4 producers", messages: many) { try await trySend($0, batchSize: 512, producers: 4) },
      Case("`trySend`, 64 tasks", messages: many) { try await trySend($0, batchSize: 512, producers: 64) },
      Case("`trySend`, 64 threads", messages: many) { try await trySendFromThreads($0, batchSize: 512, threads: 64) },
      Case("`send`, 1 producer", messages: many) { try await send($0, batchSize: 512, producers: 1) },
      Case("`send`, 2 producers", messages: many) { try await send($0, batchSize: 512, producers: 2) },
      Case("`send`, 4 producers", messages: many) { try await send($0, batchSize: 512, producers: 4) },
      Case("`send`, 64 producers", messages: many) { try await send($0, batchSize: 512, producers: 64) },
      Case("`send`, 64 producers, capacity 64 batches", messages: many) {
        try await send($0, batchSize: 512, producers: 64, capacity: 64 * 512)
      },
      Case("`send(contentsOf:)`, slices of 100", messages: many) { try await sendSlices($0, batchSize: 512) },
      Case("`send`, batch 8, 1 producer", messages: some) { try await send($0, batchSize: 8, producers: 1) },
      Case("`send`, batch 8, 4 producers", messages: some) { try await send($0, batchSize: 8, producers: 4) },
      Case("`send`, batch 8, 64 producers", messages: some) { try await send($0, batchSize: 8, producers: 64) },
      Case("`KeyedAggregator`, 10,000 keys", messages: keyed) { try await sendByKey($0, keys: 10_000) },
      Case("`KeyedAggregator`, 10 keys", messages: keyed) { try await sendByKey($0, keys: 10) },
      Case("`RequestAggregator`, batch 64, 64 callers", messages: count(100_000)) {
        try await request($0, batchSize: 64, callers: 64)
      },
    ]
  }

  /// Each with how many producers it has.
  var peers: [(producers: Int, Case)] {
    var peers: [(producers: Int, Case)] = []
    for producers in [1, 2, 4, 64] {
      let suffix = producers == 1 ? "1 producer" : "\(producers) producers"
      func add(_ name: String, _ messages: Int, _ measure: @escaping (Int) async throws -> Double) {
        peers.append((producers, Case("\(name), \(suffix)", messages: count(messages), measure)))
      }
      add("actor", 200_000) { await actorPeer($0, producers: producers) }
      add("`AsyncStream`", 100_000) { await asyncStreamPeer($0, producers: producers) }
      add("`AsyncChannel` + `chunks(ofCount:or:)`", 6_400) { await asyncAlgorithmsPeer($0, producers: producers) }
      if let channels { add("Go channel", 1_000_000) { try channels.measure("\(producers) \($0)") } }
      if let disruptor, producers < 64 {
        for wait in ["blocking", "yielding"] {
          add("Disruptor, \(wait)", 2_000_000) { try disruptor.measure("\(wait) \(producers) \($0)") }
        }
      }
    }
    return peers
  }
}

import AsyncAlgorithms

// Today's ways of doing it in Swift, written plainly and well: each gathers batches of 512 and hands them to a handler.

private final class Counter: Sendable {
  // Written by one task alone, and read after its end.
  nonisolated(unsafe) var handled = 0
}

/// Shares a count among tasks.
private func produce(
  _ count: Int, producers: Int, _ send: @escaping @Sendable (Int) async -> Void
) async {
  await withDiscardingTaskGroup { group in
    for _ in 0..<producers {
      group.addTask {
        for message in 0..<count / producers { await send(message) }
      }
    }
  }
}

// MARK: - An actor

/// An actor that keeps the open batch, and calls the handler when it is full.
private actor Gatherer {
  private var batch: [Int] = []
  private(set) var handled = 0

  init() {
    batch.reserveCapacity(512)
  }

  func send(_ message: Int) {
    batch.append(message)
    if batch.count == 512 { flush() }
  }

  func flush() {
    handled += consume(batch)
    batch.removeAll(keepingCapacity: true)
  }
}

func actorPeer(_ count: Int, producers: Int) async -> Double {
  await seconds {
    let gatherer = Gatherer()
    await produce(count, producers: producers) { await gatherer.send($0) }
    await gatherer.flush()
    let handled = await gatherer.handled
    precondition(handled == count / producers * producers, "messages were lost")
  }
}

// MARK: - An AsyncStream

func asyncStreamPeer(_ count: Int, producers: Int) async -> Double {
  await seconds {
    let (stream, continuation) = AsyncStream<Int>.makeStream(bufferingPolicy: .unbounded)
    let counter = Counter()
    async let consumer: Void = {
      var batch: [Int] = []
      batch.reserveCapacity(512)
      for await message in stream {
        batch.append(message)
        if batch.count == 512 {
          counter.handled += consume(batch)
          batch.removeAll(keepingCapacity: true)
        }
      }
      counter.handled += consume(batch)
    }()
    await produce(count, producers: producers) { continuation.yield($0) }
    continuation.finish()
    await consumer
    precondition(counter.handled == count / producers * producers, "messages were lost")
  }
}

// MARK: - swift-async-algorithms

func asyncAlgorithmsPeer(_ count: Int, producers: Int) async -> Double {
  await seconds {
    let channel = AsyncChannel<Int>()
    let counter = Counter()
    async let consumer: Void = {
      for await batch in channel.chunks(ofCount: 512, or: .repeating(every: .milliseconds(10))) {
        counter.handled += consume(batch)
      }
    }()
    await produce(count, producers: producers) { await channel.send($0) }
    channel.finish()
    await consumer
    precondition(counter.handled == count / producers * producers, "messages were lost")
  }
}

/// All that is to be seen of the program at one instant: what `/v1/statistics` answers and what the page shows.
///
/// The names of the fields are documented in `docs/admin.md` and stay as they are; new ones may be added.
package struct Overview: Sendable, Hashable, Codable {
  /// Whether messages are taken.
  package enum State: String, Sendable, Hashable, Codable {
    case running
    /// It has been told to end, and stores what it has.
    case draining
  }

  package struct Settings: Sendable, Hashable, Codable {
    package var batchSize: Int
    package var lingerMilliseconds: Double
    package var concurrency: Int
    package var capacity: Int

    package init(batchSize: Int, linger: Duration, concurrency: Int, capacity: Int) {
      self.batchSize = batchSize
      lingerMilliseconds = linger.milliseconds
      self.concurrency = concurrency
      self.capacity = capacity
    }
  }

  /// What is between accepting and the sink.
  package struct Journal: Sendable, Hashable, Codable {
    package var messages: Int
    package var bytes: Int
    package var maximumBytes: Int
    /// How old the oldest message in it is, in seconds; 0 when it is empty.
    package var oldestSeconds: Double

    package init(messages: Int, bytes: Int, maximumBytes: Int, oldestSeconds: Double) {
      self.messages = messages
      self.bytes = bytes
      self.maximumBytes = maximumBytes
      self.oldestSeconds = oldestSeconds
    }
  }

  package var version: String
  /// Now, in seconds since 1970-01-01 UTC.
  package var time: Double
  /// Seconds since the start.
  package var uptime: Double
  /// The number of the last complete second since the start, which `lastSecond` is about; -1 at first.
  package var second: Int
  package var state: State
  package var source: String
  package var target: String
  package var settings: Settings
  /// Messages that take room of `settings.capacity`.
  package var held: Int
  package var limit: Limit
  package var totals: Numbers
  package var streams: [Stream]
  @Explicit package var journal: Journal?
  @Explicit package var deadLetters: Int?
  @Explicit package var connections: Int?
  @Explicit package var log: Log?
}

extension Overview {
  /// Which limit binds now: that of the stream that is worst off, or in words of all of them where none is in trouble.
  package struct Limit: Sendable, Hashable, Codable {
    package var kind: StreamState.Kind
    package var sentence: String
    /// The stream that it is about; `nil` when it is about all, and when there is only one.
    @Explicit package var stream: String?
  }

  /// Times in milliseconds: quantiles of about the last minute, count and sum since the start.
  package struct Latency: Sendable, Hashable, Codable {
    @Explicit package var p50: Double?
    @Explicit package var p90: Double?
    @Explicit package var p99: Double?
    package var count: Int
    package var sum: Double
  }

  package struct LastSecond: Sendable, Hashable, Codable {
    package var received: Int
    package var stored: Int
  }

  package struct Failure: Sendable, Hashable, Codable {
    /// In seconds since 1970-01-01 UTC.
    package var time: Double
    package var reason: String
    /// Attempts that failed since one succeeded, of batches that are tried again.
    package var streak: Int
  }

  package struct Batch: Sendable, Hashable, Codable {
    package var stream: String
    /// When its last handler call began, in seconds since 1970-01-01 UTC.
    package var time: Double
    package var messages: Int
    package var trigger: String
    package var attempts: Int
    package var milliseconds: Double
    /// `stored`, `retrying`, `refused` or `partly`.
    package var outcome: String
  }

  /// What there is to say of a stream, and of all of them.
  package struct Numbers: Sendable, Hashable, Codable {
    package var received: Int
    package var recovered: Int
    package var stored: Int
    package var refused: Int
    package var rejected: Int
    package var held: Int
    package var inFlight: Int
    package var retries: Int
    /// By trigger; each has its entry.
    package var batches: [String: Int]
    package var lastSecond: LastSecond
    /// Messages a second, over the last 5 complete seconds.
    package var receivedPerSecond: Double
    package var storedPerSecond: Double
    /// Handler calls at once, on average of the last 5 complete seconds.
    package var busy: Double
    @Explicit package var meanBatch: Double?
    package var waitMilliseconds: Latency
    package var handlerMilliseconds: Latency
    package var backingOff: Bool
    @Explicit package var lastFailure: Failure?
    /// The newest first, at most 20; of each stream 5 when there are more than 20 streams.
    package var recentBatches: [Batch]
  }

  package struct Stream: Sendable, Hashable, Codable {
    package var name: String
    package var limit: StreamState
    package var numbers: Numbers
  }
}

/// An optional that is written as `null` when there is nothing: the field is always there.
@propertyWrapper
package struct Explicit<Value: Codable & Sendable & Hashable>: Codable, Sendable, Hashable {
  package var wrappedValue: Value?

  package init(wrappedValue: Value?) {
    self.wrappedValue = wrappedValue
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = container.decodeNil() ? nil : try container.decode(Value.self)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}

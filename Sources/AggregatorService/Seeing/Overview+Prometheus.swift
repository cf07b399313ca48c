extension Overview {
  /// Writes it as metrics, a series for each stream.
  func write(to text: inout PrometheusText) {
    writeProgram(to: &text)
    writeCounters(to: &text)
    writeGauges(to: &text)
    writeLatencies(to: &text)
    writeKept(to: &text)
    log?.write(to: &text)
  }

  private func writeProgram(to text: inout PrometheusText) {
    text.family("aggregator_info", .gauge, "Always 1; the labels say what runs.")
    text.sample("aggregator_info", [("version", version), ("source", source), ("target", target)], 1)
    text.family("aggregator_start_time_seconds", .gauge, "When it started, in seconds since 1970-01-01 UTC.")
    text.sample("aggregator_start_time_seconds", time - uptime)
    text.family("aggregator_draining", .gauge, "1 while it ends, and takes no more messages.")
    text.sample("aggregator_draining", state == .draining ? 1 : 0)
    text.family("aggregator_capacity_messages", .gauge, "The most messages held (--capacity).")
    text.sample("aggregator_capacity_messages", settings.capacity)
    text.family("aggregator_held_messages", .gauge, "Messages that take room of the capacity.")
    text.sample("aggregator_held_messages", held)
    text.family("aggregator_limit", .gauge, "1 for the limit that binds now, 0 for the others.")
    for kind in StreamState.Kind.allCases {
      text.sample("aggregator_limit", [("kind", kind.rawValue)], limit.kind == kind ? 1 : 0)
    }
  }

  private func writeCounters(to text: inout PrometheusText) {
    let counters: [(String, String, KeyPath<Numbers, Int>)] = [
      ("received", "Messages accepted.", \.received),
      ("recovered", "Messages of an earlier run found in the journal.", \.recovered),
      ("stored", "Messages stored.", \.stored),
      ("refused", "Messages given up: dead letters, or their client was told.", \.refused),
      ("rejected", "Messages not accepted, answered 503.", \.rejected),
    ]
    for (what, help, count) in counters {
      forEachStream(to: &text, "aggregator_messages_\(what)_total", .counter, help) { $0[keyPath: count] }
    }
    forEachStream(to: &text, "aggregator_retries_total", .counter, "Handler calls after the first of a batch.") {
      $0.retries
    }
    text.family("aggregator_batches_total", .counter, "Batches, by what made them due.")
    for stream in streams {
      for (trigger, count) in stream.numbers.batches.sorted(by: { $0.key < $1.key }) {
        text.sample("aggregator_batches_total", [("stream", stream.name), ("trigger", trigger)], count)
      }
    }
  }

  private func writeGauges(to text: inout PrometheusText) {
    forEachStream(to: &text, "aggregator_messages_held", .gauge, "Messages accepted and not yet settled.") { $0.held }
    forEachStream(to: &text, "aggregator_messages_in_flight", .gauge, "Messages that the store has now.") {
      $0.inFlight
    }
    forEachStream(to: &text, "aggregator_backing_off", .gauge, "1 while the last attempt failed and is repeated.") {
      $0.backingOff ? 1 : 0
    }
  }

  private func forEachStream(
    to text: inout PrometheusText, _ name: String, _ kind: PrometheusText.Kind, _ help: String,
    _ value: (Numbers) -> Int
  ) {
    text.family(name, kind, help)
    for stream in streams { text.sample(name, [("stream", stream.name)], value(stream.numbers)) }
  }

  private func writeLatencies(to text: inout PrometheusText) {
    let latencies: [(String, String, KeyPath<Numbers, Latency>)] = [
      (
        "aggregator_wait_seconds",
        "How long the first message of a batch waited; quantiles of about the last minute.", \.waitMilliseconds
      ),
      ("aggregator_store_seconds", "Handler calls; quantiles of about the last minute.", \.handlerMilliseconds),
    ]
    for (name, help, latency) in latencies {
      text.family(name, .summary, help)
      for stream in streams {
        let times = stream.numbers[keyPath: latency]
        for (share, time) in [("0.5", times.p50), ("0.9", times.p90), ("0.99", times.p99)] {
          text.sample(name, [("stream", stream.name), ("quantile", share)], time.map { $0 / 1_000 } ?? .nan)
        }
        text.sample("\(name)_sum", [("stream", stream.name)], times.sum / 1_000)
        text.sample("\(name)_count", [("stream", stream.name)], times.count)
      }
    }
  }

  private func writeKept(to text: inout PrometheusText) {
    if let connections {
      text.family("aggregator_connections", .gauge, "Connections of clients that are open.")
      text.sample("aggregator_connections", connections)
    }
    if let deadLetters {
      text.family("aggregator_dead_letters", .gauge, "Dead letters that are kept.")
      text.sample("aggregator_dead_letters", deadLetters)
    }
    guard let journal else { return }
    text.family("aggregator_journal_messages", .gauge, "Messages in the journal.")
    text.sample("aggregator_journal_messages", journal.messages)
    text.family("aggregator_journal_bytes", .gauge, "Bytes of messages in the journal.")
    text.sample("aggregator_journal_bytes", journal.bytes)
    text.family("aggregator_journal_maximum_bytes", .gauge, "The most bytes of messages in the journal.")
    text.sample("aggregator_journal_maximum_bytes", journal.maximumBytes)
    text.family("aggregator_journal_oldest_seconds", .gauge, "How old the oldest message in the journal is.")
    text.sample("aggregator_journal_oldest_seconds", journal.oldestSeconds)
  }
}

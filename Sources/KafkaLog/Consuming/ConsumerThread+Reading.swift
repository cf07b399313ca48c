import AggregatorStorage
import CKafka

extension ConsumerThread {
  /// Reads for those who wait, as long as there is something.
  func serve() {
    while let wanted = state.wanted {
      let batch = state.withAssignment { $0.takeWaiting(atMost: wanted) }
      if !batch.isEmpty {
        state.handOut(batch)
      } else if !read(atMost: wanted) {
        return
      }
    }
  }

  /// Hands out messages from librdkafka's queue.
  ///
  /// - Returns: Whether there was anything.
  private func read(atMost limit: Int) -> Bool {
    let (found, batch) = withUnsafeTemporaryAllocation(
      of: UnsafeMutablePointer<rd_kafka_message_t>?.self, capacity: min(limit, 1_000)
    ) { buffer -> (Bool, [LogMessage]) in
      let count = rd_kafka_consume_batch_queue(messages, 0, buffer.baseAddress, buffer.count)
      guard count > 0 else { return (false, []) }
      var batch: [LogMessage] = []
      batch.reserveCapacity(count)
      for index in 0..<count {
        guard let pointer = buffer[index] else { continue }
        if let message = take(pointer) { batch.append(message) }
        rd_kafka_message_destroy(pointer)
      }
      return (true, batch)
    }
    if !batch.isEmpty {
      client.isWell()
      state.handOut(batch)
    }
    return found
  }

  /// What librdkafka hands over: a message, the end of a partition, or an error.
  private func take(_ pointer: UnsafeMutablePointer<rd_kafka_message_t>) -> LogMessage? {
    let raw = pointer.pointee
    switch raw.err {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      return reader.message(pointer) { partition in state.withAssignment { $0.epoch(of: partition) } }
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
      guard let topic = raw.rkt else { return nil }
      let place = Assignment.Place(topic: String(cString: rd_kafka_topic_name(topic)), number: raw.partition)
      state.withAssignment { $0.reachedEnd(of: place.partition, at: raw.offset) }
      return nil
    default:
      meet(KafkaError(raw.err))
      return nil
    }
  }
}

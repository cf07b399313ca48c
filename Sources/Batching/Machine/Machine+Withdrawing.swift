import DequeModule

extension Machine {
  /// The sender of a message wants it back.
  ///
  /// It is moved to `target`, and counts as cancelled; `false`, and nothing has happened, when its batch has started.
  mutating func withdrawn(
    _ number: Int, to target: UnsafeMutableRawPointer, now: Duration, _ effects: inout Effects<Waiter>
  ) -> Bool {
    countOpen()
    let weight: Int
    if let index = readyIndex(of: number) {
      var batch = ready[index]
      guard let slot = batch.segment.index(of: number, in: batch.range) else { return false }
      weight = batch.segment.takeOut(slot, first: batch.range.lowerBound, to: target, layout: layout)
      batch.range = (batch.range.lowerBound + 1)..<batch.range.upperBound
      batch.weight -= weight
      firstLeft(batch, at: index, &effects)
      reopenLast()
    } else if var batch = open, let slot = batch.segment.index(of: number, in: batch.head..<slots.count) {
      weight = batch.segment.takeOut(slot, first: batch.head, to: target, layout: layout)
      batch.head += 1
      batch.weight -= weight
      firstLeft(batch, now: now, &effects)
    } else {
      return false
    }
    ledger.held -= 1
    ledger.cancelled += 1
    heldWeight -= weight
    admitSenders(now: now, &effects)
    limitHotPath()
    return true
  }

  /// The closed batch that would have the message with this number.
  private func readyIndex(of number: Int) -> Int? {
    var low = 0
    var high = ready.count
    while low < high {
      let middle = (low + high) / 2
      if ready[middle].lastNumber < number { low = middle + 1 } else { high = middle }
    }
    return low < ready.count ? low : nil
  }

  /// The newest closed batch is no longer full: it grows again, if no other has been opened and no flush waits for it.
  private mutating func reopenLast() {
    guard open == nil, let batch = ready.last, batch.range.count < settings.batchSize,
      batch.trigger == .size || batch.trigger == .linger, batch.epoch == epochs.current, phase == .open
    else { return }
    ready.removeLast()
    open = OpenBatch(
      segment: batch.segment, head: batch.range.lowerBound, counted: batch.range.upperBound, weight: batch.weight,
      epoch: batch.epoch, began: batch.began, deadline: batch.began + settings.linger, due: batch.trigger)
    slots.base = batch.segment.base
    slots.count = batch.range.upperBound
  }
}

extension ClosedBatch {
  /// The number of its newest message.
  var lastNumber: Int { segment.tags?[range.upperBound - 1].number ?? 0 }
}

extension Segment {
  /// Where the message with this number lies, if it is in the range.
  func index(of number: Int, in range: Range<Int>) -> Int? {
    guard let tags else { return nil }
    var low = range.lowerBound
    var high = range.upperBound
    while low < high {
      let middle = (low + high) / 2
      if tags[middle].number < number { low = middle + 1 } else { high = middle }
    }
    return low < range.upperBound && tags[low].number == number ? low : nil
  }

  /// Moves a message out, and those before it up by one, so that the slot `first` is free; returns what it weighed.
  func takeOut(_ index: Int, first: Int, to target: UnsafeMutableRawPointer, layout: MessageLayout) -> Int {
    layout.move(target, layout.slot(index, of: base), 1)
    layout.move(layout.slot(first + 1, of: base), layout.slot(first, of: base), index - first)
    guard let tags else { return 0 }
    let weight = tags[index].weight
    (tags + first + 1).update(from: tags + first, count: index - first)
    return weight
  }
}

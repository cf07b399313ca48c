/// Batches that lie ready for one of the slots, so that it goes from one to the next without the lock.
///
/// A slot that is busy attends to it. Who closes a batch has the lock anyway, and posts it here. The slot starts what is posted, one
/// after the other, and notes when each has ended: one exchange of a word for both. What it has done is booked when somebody who has
/// the lock needs to know it. Until a batch has started it can be retracted, so it is not in flight, may go to another slot, and
/// may be cut, as if it had not been posted.
///
/// Why: a sender and a slot that want the lock at the same time wait for each other, some hundred nanoseconds or a microsecond for
/// each batch. Here neither waits, and what the machine has to do for a batch is done where its memory is in the cache. The idea of
/// one word by which both sides know how far the other is comes from rings for one producer and one consumer (Lamport, "Proving the
/// correctness of multiprocess programs", 1977); that what was handed over may be taken back is owed to work stealing.
///
/// All of it is touched with the lock held. The slot's side is ``InboxReader``.
struct Inbox {
  /// There is none before a slot has attended to it.
  var memory: InboxMemory?
  /// Whether a slot looks into it.
  private(set) var isAttended = false
  /// Whether that slot is to come to the lock as soon as its batch has ended, or at once if it has none.
  ///
  /// Nothing is posted meanwhile.
  private(set) var isWanted = false
  /// How far it has come, as far as that is booked.
  private(set) var booked = InboxCounts()

  /// Whether there is a place for another batch.
  var hasPlace: Bool { booked.posted &- booked.ended < UInt16(InboxMemory.places) }

  /// How many of the ready batches are posted.
  var posted: Int { Int(booked.posted &- booked.started) }

  /// A slot is going to attend to it; it has a batch, or has run out of them.
  mutating func attend(with batch: TakenBatch?) -> InboxReader {
    let memory = memory ?? InboxMemory()
    self.memory = memory
    booked = InboxCounts()
    if let batch {
      memory[0] = batch
      booked.posted = 1
      booked.started = 1
    }
    isAttended = true
    isWanted = false
    memory.set(booked)
    return InboxReader(memory, seen: booked)
  }

  /// The slot that attended to it has come to the lock.
  mutating func leave() {
    isAttended = false
    isWanted = false
  }

  /// How far it has come by now.
  var actual: InboxCounts {
    guard isAttended, let memory else { return booked }
    return memory.counts
  }

  /// Puts a batch into the next place; returns how far it had come by then.
  mutating func post(_ batch: TakenBatch) -> InboxCounts {
    guard let memory else { return booked }
    memory.claim()
    memory[booked.posted] = batch
    booked.posted &+= 1
    return memory.notePosted()
  }

  /// Takes back what has not started; returns how far it had come by then.
  mutating func retract(isWanted: Bool) -> InboxCounts {
    guard let memory else { return booked }
    self.isWanted = isWanted || self.isWanted
    let counts = memory.change { counts in
      counts.posted = counts.started
      counts.isWanted = self.isWanted
      counts.isWantedWhenIdle = false
    }
    booked.posted = counts.posted
    return counts
  }

  /// The slot is to come to the lock when it has nothing to do; returns whether that is so now.
  func wantWhenIdle() -> Bool {
    guard let memory else { return false }
    return memory.change { $0.isWantedWhenIdle = true }.isIdle
  }

  /// Books that the slot has started a batch.
  mutating func bookStart() { booked.started &+= 1 }

  /// Books that the slot's batch has ended; returns the batch.
  mutating func bookEnd() -> TakenBatch? {
    defer { booked.ended &+= 1 }
    return memory?[booked.ended]
  }

  func free() { memory?.free() }
}

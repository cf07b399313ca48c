extension AsyncSequence where Self: Sendable, Element: Sendable {
  /// The elements of this sequence in batches: full ones, or what has come within `linger` of a batch's first element.
  ///
  /// ```swift
  /// for try await batch in events.batched(size: 500, linger: .milliseconds(20)) {
  ///   try await database.insert(batch)
  /// }
  /// ```
  ///
  /// A batch is due when it has `size` elements, when its first element has waited for `linger`, or when this sequence ends. A
  /// due batch that nobody asks for yet grows up to `size`; with a `linger` of zero that is all there is to it: who asks gets
  /// what has come meanwhile (natural batching). The elements keep their order, and none is lost or comes twice.
  ///
  /// **Backpressure.** Reading begins when the first batch is asked for and goes on while a batch is being worked on. At most
  /// `size` elements have been read beyond those that were handed over; then this sequence waits for its consumer.
  ///
  /// **The end.** When this sequence ends or throws, the elements that came before are handed over first, in a batch whose
  /// trigger is ``Trigger/shutdown``; then the end or the error.
  ///
  /// **Cancellation** of the task that asks for a batch is passed on to this sequence, and what it does then counts, as if it
  /// had been iterated directly: what it still had for us is handed over before its end. An iterator that is let go of cancels
  /// the reading; what was read ahead is lost with it.
  ///
  /// Each iterator reads for itself, in one task of its own. Batches are numbered from 1.
  ///
  /// - Parameters:
  ///   - size: The most elements in a batch; at least 1.
  ///   - linger: The longest that a batch's first element waits for others; not negative.
  ///   - clock: What `linger` is measured on.
  /// - Returns: A sequence of batches that fails as this one does.
  public func batched(
    size: Int, linger: Duration, clock: any Clock<Duration> = ContinuousClock()
  ) -> some AsyncSequence<Batch<Element>, Failure> & Sendable {
    precondition(size >= 1, "batched(size:linger:): size is \(size), but must be 1 or more")
    precondition(linger >= .zero, "batched(size:linger:): linger is \(linger), but must be zero or more")
    return BatchedSequence(base: self, size: size, linger: linger, clock: clock)
  }
}

struct BatchedSequence<Base: AsyncSequence & Sendable>: AsyncSequence, Sendable where Base.Element: Sendable {
  typealias Element = Batch<Base.Element>
  typealias Failure = Base.Failure

  let base: Base
  let size: Int
  let linger: Duration
  let clock: any Clock<Duration>

  func makeAsyncIterator() -> Iterator {
    Iterator(reading: Reading(base, size: size, linger: linger, clock: clock))
  }

  struct Iterator: AsyncIteratorProtocol {
    let reading: Reading<Base>

    func next(isolation actor: isolated (any Actor)?) async throws(Base.Failure) -> Batch<Base.Element>? {
      try await reading.next()
    }

    func next() async throws(Base.Failure) -> Batch<Base.Element>? {
      try await reading.next()
    }
  }
}

/// What a task that waits is told when it is resumed.
@usableFromInline
enum Wake: Hashable, Sendable {
  /// To a worker, the timer, or the supervisor: look at the machine again.
  case look
  /// To a sender: all its messages were accepted.
  case admitted
  /// To a sender: the aggregator was shut down; so many of its messages were accepted before.
  case closed(admitted: Int)
  /// To a sender or a flusher: it was cancelled; so many of its messages were accepted before.
  case cancelled(admitted: Int)
  /// To a flusher: what it waited for is settled.
  case settled
}

/// What the shell does for the machine once the lock is released: resume those who wait, and let go of what is a user's.
///
/// The usual event wakes nobody or one, and the array stays the shared empty one.
@usableFromInline
struct Effects<Waiter> {
  struct Resumption {
    var waiter: Waiter
    var wake: Wake
  }

  private(set) var first: Resumption?
  private(set) var others: [Resumption] = []

  /// Objects whose end may run a user's code.
  private var released: AnyObject?
  private var moreReleased: [AnyObject] = []

  mutating func letGo(_ object: AnyObject) {
    if released == nil { released = object } else { moreReleased.append(object) }
  }

  mutating func resume(_ waiter: Waiter, _ wake: Wake) {
    if first == nil {
      first = Resumption(waiter: waiter, wake: wake)
    } else {
      others.append(Resumption(waiter: waiter, wake: wake))
    }
  }
}

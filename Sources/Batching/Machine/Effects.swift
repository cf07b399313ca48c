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
/// The usual event wakes nobody or one, and costs no array.
@usableFromInline
struct Effects<Waiter> {
  struct Resumption {
    var waiter: Waiter
    var wake: Wake
  }

  private final class More {
    var resumptions: [Resumption] = []
    var released: [AnyObject] = []
  }

  /// A stroke of the bell, by which slots that look out for a batch hear of one.
  var stroke: UInt32?
  private(set) var first: Resumption?
  /// An object whose end may run a user's code.
  private var released: AnyObject?
  private var more: More?

  /// Those to be resumed after the first.
  var others: [Resumption] { more?.resumptions ?? [] }

  mutating func letGo(_ object: AnyObject) {
    if released == nil { released = object } else { withMore { $0.released.append(object) } }
  }

  mutating func resume(_ waiter: Waiter, _ wake: Wake) {
    let resumption = Resumption(waiter: waiter, wake: wake)
    if first == nil { first = resumption } else { withMore { $0.resumptions.append(resumption) } }
  }

  private mutating func withMore(_ body: (More) -> Void) {
    let more = more ?? More()
    self.more = more
    body(more)
  }
}

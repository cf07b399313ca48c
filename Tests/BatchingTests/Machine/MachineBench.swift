import Testing

@testable import Batching

/// A machine on a workbench: messages are numbers, waiters are names, and after each event the books are checked.
final class MachineBench {
  private var machine: Machine<String>
  private var nextMessage = 1

  init(_ change: (inout MachineSettings) -> Void = { _ in }) {
    var settings = MachineSettings()
    settings.batchSize = 3
    settings.capacity = 6
    change(&settings)
    machine = Machine(settings: settings, layout: MessageLayout(of: Int.self))
  }

  deinit {
    machine.free()
  }

  /// What an event returned, and whom it woke with what.
  struct Action<Answer: Equatable>: Equatable {
    var answer: Answer
    var woken: [String]
  }

  /// Lets something happen to the machine.
  func on<Answer>(
    sourceLocation: SourceLocation = #_sourceLocation,
    _ event: (inout Machine<String>, inout Effects<String>) -> Answer
  ) -> Action<Answer> {
    var effects = Effects<String>()
    let answer = event(&machine, &effects)
    let ledger = machine.statistics()
    #expect(
      ledger.accepted == ledger.handled + ledger.failed + ledger.dropped + ledger.cancelled + ledger.held,
      sourceLocation: sourceLocation)
    #expect(ledger.held <= machine.settings.capacity, sourceLocation: sourceLocation)
    #expect(machine.heldWeight <= machine.settings.maximumHeldWeight, sourceLocation: sourceLocation)
    if let stroke = effects.stroke { rung = stroke }
    let all = (effects.first.map { [$0] } ?? []) + effects.others
    return Action(answer: answer, woken: all.map { "\($0.waiter) \($0.wake)" })
  }

  /// The same for an event whose answer is not compared.
  func when(_ event: (inout Machine<String>, inout Effects<String>) -> Void) -> [String] {
    on { machine, effects -> Bool in
      event(&machine, &effects)
      return true
    }.woken
  }

  /// The last stroke of the bell.
  private(set) var rung: UInt32 = 0

  /// Strokes that a worker has heard of if it looks now.
  var strokes: UInt32 { machine.workers.strokes }

  var statistics: AggregatorStatistics { machine.statistics() }
  var heldWeight: Int { machine.heldWeight }
  var deadline: Duration? { machine.deadline }

  // MARK: Events with messages

  enum Answer: Equatable { case accepted, full, closed, tooHeavy }

  /// The next number is sent by itself.
  ///
  /// It counts only if it is accepted.
  func offer(weight: Int = 0, at now: Duration = .zero) -> Action<Answer> {
    let message = nextMessage
    return on { machine, effects in
      switch machine.offered(weight: weight, now: now, &effects) {
      case .accepted(let slot, _):
        slot.initializeMemory(as: Int.self, to: message)
        nextMessage += 1
        return .accepted
      case .full: return .full
      case .closed: return .closed
      case .tooHeavy: return .tooHeavy
      }
    }
  }

  /// The next numbers are sent together, in as many offers as it takes; returns how many were accepted.
  func offer(count: Int, at now: Duration = .zero) -> Action<Int> {
    on { machine, effects in
      var sent = 0
      while sent < count,
        case .accepted(let slot, let accepted) = machine.offered(
          count: count - sent, now: now, &effects)
      {
        for index in 0..<accepted {
          (slot + index * MemoryLayout<Int>.stride).initializeMemory(as: Int.self, to: nextMessage)
          nextMessage += 1
        }
        sent += accepted
      }
      return sent
    }
  }

  /// As the hot path does it: without asking the machine, as long as the limit allows; returns how many went in.
  func append(atMost count: Int) -> Int {
    var appended = 0
    while appended < count, machine.slots.count < machine.slots.limit, let base = machine.slots.base {
      (base + machine.slots.count * MemoryLayout<Int>.stride).initializeMemory(as: Int.self, to: nextMessage)
      machine.slots.count += 1
      nextMessage += 1
      appended += 1
    }
    return appended
  }

  /// A sender with the next numbers waits in line; returns its ID.
  ///
  /// The parcel's memory is kept till the end of the test.
  func wait(_ count: Int, weights: [Int]? = nil) -> Int {
    let messages = UnsafeMutablePointer<Int>.allocate(capacity: count)
    for index in 0..<count {
      (messages + index).initialize(to: nextMessage)
      nextMessage += 1
    }
    var heavy: UnsafeMutablePointer<Int>?
    if let weights {
      heavy = .allocate(capacity: count)
      heavy?.initialize(from: weights, count: count)
    }
    return machine.senderWaits(Parcel(base: UnsafeMutableRawPointer(messages), count: count, weights: heavy))
  }

  // MARK: Workers

  struct Taken: Equatable {
    var messages: [Int]
    var trigger: Trigger
    var number: Int
    var abort: AbortReason?
  }

  enum Order: Equatable {
    case take(Taken)
    case park
    case leave
    case end
  }

  private(set) var epochs: [Int: Int] = [:]  // by sequence number
  /// When the first message of the batch that was taken last was accepted.
  private(set) var lastBegan: Duration?

  /// A worker looks, and empties the batch's segment if it gets one.
  func look(wasWoken: Bool = false) -> Order {
    on { machine, _ -> Order in
      switch machine.workerLooks(wasWoken: wasWoken) {
      case .take(let batch):
        let base = batch.segment.base.assumingMemoryBound(to: Int.self)
        let messages = batch.range.map { base[$0] }
        machine.segmentEmptied(batch.segment)
        epochs[batch.sequenceNumber] = batch.epoch
        lastBegan = batch.began
        return .take(
          Taken(
            messages: messages, trigger: batch.trigger, number: batch.sequenceNumber, abort: batch.abort))
      case .park: return .park
      case .leave: return .leave
      case .end: return .end
      }
    }.answer
  }

  /// The handler has returned for a whole batch; returns who was woken.
  func handled(_ number: Int, count: Int, weight: Int = 0, at now: Duration = .zero) -> [String] {
    when { machine, effects in
      machine.attemptEnded(count: count, handled: count, weight: weight, now: now, &effects)
      if let epoch = epochs[number] { machine.batchSettled(epoch: epoch, &effects) }
    }
  }

  /// A worker without work parks under a name.
  func park(_ name: String) -> Bool {
    on { machine, _ in machine.workerParks(name) }.answer
  }

  /// `run()` begins, and its timer parks or sleeps.
  func run(at now: Duration = .zero) {
    #expect(on { machine, _ in machine.runBegan(now: now) }.answer)
  }
}

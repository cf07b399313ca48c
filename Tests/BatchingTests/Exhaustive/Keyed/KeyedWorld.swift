import DequeModule

@testable import Batching

/// What may happen next: what some actor does in one critical section of the shell.
enum KeyedEvent: Equatable {
  case runEnds
  case producer(Int)
  case senderIsCancelled(Int)
  case worker(Int, HandlerEnd?)
  case flusher(Int)
  case timer
  case sleepEnds
  case supervisor
  case saver(Int)
  case reconfiguration
  case shutdown
  case cancelRun
  case timePasses
}

/// A machine by key and all who have to do with it, with the same steps as `Core`; as `World`, which it resembles.
final class KeyedWorld: Explored {
  let stage: KeyedStage
  var machine: Machine<Int>
  var book: KeyedBook
  var producers: [KeyedProducer]
  var workers: [KeyedWorker]
  var savers: [FailureJob] = []
  var flushers: [Flusher]
  var timer = TimerTask()
  var supervisor = SupervisorTask()
  var endsLeft: [Scenario.End]
  var runHasEnded = false
  var ticksLeft: Int
  var faultsLeft: Int
  var cancellationsLeft: Int
  var changesMade = 0
  var workersToStart = 0
  var lastSequenceNumber = 0

  var violation: String?
  var story: [String]?
  var effects = Effects<Int>()

  var scenario: KeyedScenario { stage.scenario }
  var now: Int { book.now }
  var time: Duration { .seconds(book.now) }

  init(_ stage: KeyedStage) {
    self.stage = stage
    let scenario = stage.scenario
    machine = Machine(settings: stage.settings, layout: stage.layout)
    book = KeyedBook(stage)
    producers = scenario.producers.map { _ in KeyedProducer() }
    workers = (0..<scenario.workers).map { _ in KeyedWorker(stage: .looks) }
    flushers = (0..<scenario.flushes).map { _ in Flusher() }
    endsLeft = scenario.ends
    ticksLeft = scenario.ticks
    faultsLeft = scenario.faults
    cancellationsLeft = scenario.cancellations
    expect(machine.runBegan(now: .zero), "run() was refused")
    timer.stage = .looks
    supervisor.stage = .looks
  }

  init(copying other: KeyedWorld) {
    stage = other.stage
    machine = other.machine.copy(SegmentCopies(other.stage.layout))
    book = other.book
    producers = other.producers
    workers = other.workers
    for index in workers.indices {
      guard let chain = workers[index].chain else { continue }
      workers[index].chain = chain.copy(count: workers[index].chainCount, into: &machine.lanes.nodes)
    }
    savers = other.savers
    flushers = other.flushers
    timer = other.timer
    supervisor = other.supervisor
    endsLeft = other.endsLeft
    runHasEnded = other.runHasEnded
    ticksLeft = other.ticksLeft
    faultsLeft = other.faultsLeft
    cancellationsLeft = other.cancellationsLeft
    changesMade = other.changesMade
    workersToStart = other.workersToStart
    lastSequenceNumber = other.lastSequenceNumber
  }

  deinit {
    machine.freeAll()
  }

  static let timerName = 10
  static let supervisorName = 11
  static func name(producer: Int) -> Int { 20 + producer }
  static func name(flusher: Int) -> Int { 30 + flusher }

  // MARK: Events

  func possible() -> [KeyedEvent] {
    var events: [KeyedEvent] = []
    for index in producers.indices {
      if producers[index].mayStep(stage.scripts[index].count) { events.append(.producer(index)) }
      if cancellationsLeft > 0, producers[index].place != nil { events.append(.senderIsCancelled(index)) }
    }
    for index in flushers.indices where flushers[index].mayStep { events.append(.flusher(index)) }
    if changesMade < scenario.changes.count { events.append(.reconfiguration) }
    for end in endsLeft {
      switch end {
      case .shutdown: events.append(.shutdown)
      case .cancel: if !runHasEnded { events.append(.cancelRun) }
      }
    }
    addInternalEvents(to: &events)
    return events
  }

  func addInternalEvents(to events: inout [KeyedEvent]) {
    for index in workers.indices { addSteps(ofWorker: index, to: &events) }
    for index in savers.indices { events.append(.saver(index)) }
    if timer.mayStep { events.append(.timer) }
    if let until = timer.sleepsUntil, until <= now { events.append(.sleepEnds) }
    if supervisor.mayStep { events.append(.supervisor) }
    if mayRunEnd { events.append(.runEnds) }
    if ticksLeft > 0 {
      if book.deadline != nil || timer.sleepsUntil.map({ $0 > now }) == true { events.append(.timePasses) }
    } else if let until = timer.sleepsUntil, until > now {
      events.append(.timePasses)
    }
  }

  var hasCallsUnderWay: Bool {
    producers.contains { $0.stage != .calls && $0.stage != .waits } || flushers.contains { $0.stage == .attaches }
  }

  func happens(_ event: KeyedEvent) {
    effects = Effects()
    book.told = []
    book.tieFrom = nil
    switch event {
    case .runEnds: runEnds()
    case .producer(let index): producerSteps(index)
    case .senderIsCancelled(let index): cancelSender(index)
    case .worker(let index, let end): workerSteps(index, end)
    case .flusher(let index): flusherSteps(index)
    case .timer: timerSteps()
    case .sleepEnds: sleepEnds()
    case .supervisor: supervisorSteps()
    case .saver(let index): saverSteps(index)
    case .reconfiguration: reconfigure()
    case .shutdown: shutDown()
    case .cancelRun: cancelRun()
    case .timePasses: timePasses()
    }
    reconcileLine()
    deliver()
    if violation == nil { check() }
  }

  /// Keys that have become due at the same moment stand in line in the machine's order.
  private func reconcileLine() {
    guard let from = book.tieFrom else { return }
    let line = machine.lanes.ready.map(key)
    if line.count == book.line.count, line[..<from] == book.line[..<from], Set(line) == Set(book.line) {
      book.line = line
    }
  }

  func key(ofLane lane: Int) -> Int {
    guard let name = machine.lanes[lane].key else { return -1 }
    return name._withUnsafeGuaranteedRef { ($0 as? KeyBox<Int>)?.key ?? -1 }
  }

  private func timePasses() {
    if ticksLeft > 0 {
      ticksLeft -= 1
      book.now += 1
    } else if let until = timer.sleepsUntil {
      book.now = max(book.now, until)
    }
    tell("time passes: it is \(book.now)")
  }

  // MARK: Words

  func tell(_ line: @autoclosure () -> String) {
    if story != nil { story?.append(line()) }
  }

  func fail(_ what: @autoclosure () -> String) {
    if violation == nil { violation = what() }
  }

  func expect(_ isRight: Bool, _ what: @autoclosure () -> String) {
    if !isRight, violation == nil { violation = what() }
  }
}

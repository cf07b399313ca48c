@testable import Batching

/// What may happen next: what some actor does in one critical section of the shell.
enum Event: Equatable {
  case run
  case runEnds
  case producer(Int)
  case senderIsCancelled(Int)
  case worker(Int, HandlerEnd?)
  case flusher(Int)
  case flusherIsCancelled(Int)
  case timer
  case sleepEnds
  case supervisor
  case saver(Int)
  case withdrawal(Int)
  case reconfiguration
  case shutdown
  case cancelRun
  case timePasses
}

/// A machine and all who have to do with it, at one moment: who stands where in the shell, with the same steps as `Core`.
///
/// Each of its events is one critical section of the shell. The actors are spread over the extensions: producers, workers,
/// and the children of `run()`.
final class World {
  let stage: Stage
  var machine: Machine<Int>
  var book: Book
  var producers: [Producer]
  var workers: [Worker]
  var flushers: [Flusher]
  var timer = TimerTask()
  var supervisor = SupervisorTask()
  var savers: [Saver] = []
  var endsLeft: [Scenario.End]
  var runHasBegun = false
  var runHasEnded = false
  var ticksLeft: Int
  var faultsLeft: Int
  var cancellationsLeft: Int
  var lastSequenceNumber = 0
  /// Changes of sizes and times that have been made.
  var changesMade = 0
  /// Workers that the supervisor has been told to start.
  var workersToStart = 0
  /// The numbers by which requests are known, and those whose callers may take them back: a bit for each.
  var requestNumbers: [Int] = []
  var requests = 0

  /// The first thing that was wrong.
  var violation: String?
  /// What has happened, in words, when it is wanted.
  var story: [String]?
  var effects = Effects<Int>()
  /// Whether the event is one of those that end with `Machine.post()`: as in `Core.ask`.
  var isAsked = true

  var scenario: Scenario { stage.scenario }
  var now: Int { book.now }

  init(_ stage: Stage) {
    self.stage = stage
    let scenario = stage.scenario
    machine = Machine(settings: stage.settings, layout: stage.layout)
    book = Book(stage)
    producers = scenario.producers.map { _ in Producer() }
    workers = (0..<scenario.workers).map { _ in Worker() }
    flushers = (0..<scenario.flushes).map { _ in Flusher() }
    endsLeft = scenario.ends
    if stage.settings.canBeWithdrawn { requestNumbers = Array(repeating: 0, count: Stage.most) }
    ticksLeft = scenario.ticks
    faultsLeft = scenario.faults
    cancellationsLeft = scenario.cancellations
    if !scenario.runsLate { happens(.run) }
  }

  init(copying other: World) {
    stage = other.stage
    let segments = SegmentCopies(stage.layout, areShared: other.machine.inbox.isAttended)
    machine = other.machine.copy(segments)
    book = other.book
    producers = other.producers
    workers = other.workers
    for index in workers.indices {
      if let segment = workers[index].taken?.segment { workers[index].taken?.segment = segments.copy(segment) }
      if let reader = workers[index].reader, let memory = machine.inbox.memory {
        workers[index].reader = InboxReader(memory, seen: reader.seen)
      }
    }
    flushers = other.flushers
    timer = other.timer
    supervisor = other.supervisor
    savers = other.savers
    endsLeft = other.endsLeft
    runHasBegun = other.runHasBegun
    runHasEnded = other.runHasEnded
    ticksLeft = other.ticksLeft
    faultsLeft = other.faultsLeft
    cancellationsLeft = other.cancellationsLeft
    lastSequenceNumber = other.lastSequenceNumber
    changesMade = other.changesMade
    workersToStart = other.workersToStart
    requestNumbers = other.requestNumbers
    requests = other.requests
  }

  deinit {
    machine.freeAll(and: workers.compactMap { $0.taken?.segment })
  }

  // MARK: Names, which stand for continuations

  static func name(worker: Int) -> Int { worker }
  static let timerName = 10
  static let supervisorName = 11
  static func name(producer: Int) -> Int { 20 + producer }
  static func name(flusher: Int) -> Int { 30 + flusher }

  // MARK: Events

  /// All that may happen next.
  func possible() -> [Event] {
    var events: [Event] = []
    if !runHasBegun { events.append(.run) }
    for index in producers.indices {
      if producerMayStep(index) { events.append(.producer(index)) }
      if cancellationsLeft > 0, producers[index].place != nil { events.append(.senderIsCancelled(index)) }
    }
    for index in flushers.indices {
      if flushers[index].mayStep { events.append(.flusher(index)) }
      if cancellationsLeft > 0, flushers[index].id != nil { events.append(.flusherIsCancelled(index)) }
    }
    if cancellationsLeft > 0 {
      for message in 0..<Stage.most where requests & 1 << message != 0 { events.append(.withdrawal(message)) }
    }
    if changesMade < scenario.changes.count { events.append(.reconfiguration) }
    for end in endsLeft {
      switch end {
      case .shutdown: events.append(.shutdown)
      case .cancel: if runHasBegun, !runHasEnded { events.append(.cancelRun) }
      }
    }
    addInternalEvents(to: &events)
    return events
  }

  /// What happens without anybody calling.
  func addInternalEvents(to events: inout [Event]) {
    for index in workers.indices { addSteps(ofWorker: index, to: &events) }
    if timer.mayStep { events.append(.timer) }
    if let until = timer.sleepsUntil, until <= now { events.append(.sleepEnds) }
    if supervisor.mayStep { events.append(.supervisor) }
    for index in savers.indices { events.append(.saver(index)) }
    if mayRunEnd { events.append(.runEnds) }
    if ticksLeft > 0 {
      if book.deadline != nil || timer.sleepsUntil.map({ $0 > now }) == true { events.append(.timePasses) }
    } else if let until = timer.sleepsUntil, until > now {
      events.append(.timePasses)
    }
  }

  /// Lets something happen, and compares the machine with the book.
  func happens(_ event: Event) {
    effects = Effects()
    book.told = []
    isAsked = true
    switch event {
    case .run: runBegins()
    case .runEnds: runEnds()
    case .producer(let index): producerSteps(index)
    case .senderIsCancelled(let index): cancelSender(index)
    case .worker(let index, let end): workerSteps(index, end)
    case .flusher(let index): flusherSteps(index)
    case .flusherIsCancelled(let index): cancelFlusher(index)
    case .timer: timerSteps()
    case .sleepEnds: sleepEnds()
    case .supervisor: supervisorSteps()
    case .saver(let index): saverSteps(index)
    case .withdrawal(let message): withdraw(message)
    case .reconfiguration: reconfigure()
    case .shutdown: shutDown()
    case .cancelRun: cancelRun()
    case .timePasses: timePasses()
    }
    if isAsked { machine.post() }
    deliver()
    if violation == nil { check() }
  }

  private func timePasses() {
    isAsked = false
    if ticksLeft > 0 {
      ticksLeft -= 1
      book.now += 1
    } else if let until = timer.sleepsUntil {
      book.now = max(book.now, until)
    }
    tell("time passes: it is \(book.now)")
  }

  var time: Duration { .seconds(book.now) }

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

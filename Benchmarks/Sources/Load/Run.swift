import Foundation
import LoadSupport

/// A part, run once: a new store, the program, its clients, and a look into the store.
struct Run {
  let part: Part
  /// Messages that the store has, each of which was acknowledged.
  let stored: Int
  /// Seconds from the first request to the last answer.
  let elapsed: Double
  let times: Histogram
  let watch: Watch
  /// Seconds of processor time of the clients.
  let clientProcessor: Double
  /// What the store is, in words.
  let settings: String

  var rate: Double { Double(stored) / elapsed }
  var programProcessor: Double { (watch.samples.last?.processor ?? 0) - (watch.samples.first?.processor ?? 0) }

  /// - Throws: ``LoadError`` when a request is not answered with 200, or the store has other messages than were acknowledged.
  init(_ part: Part, program: String, seconds: Double) throws {
    self.part = part
    let store: any Store = try part.store == .sqlite ? SQLiteStore() : PostgresStore()
    defer { store.remove() }
    settings = store.settings
    let server = try Server(program: program, store: store, options: part.options)
    var clients = Clients(part, watching: server.identifier, seconds: seconds)
    let before = Self.processorTime()
    elapsed = try clients.run(port: server.port)
    clientProcessor = Self.processorTime() - before
    times = clients.times
    watch = clients.watch
    try server.stop()
    stored = try Audit.count(in: store, acknowledged: clients.acknowledged)
  }

  /// Seconds of processor time of this process.
  private static func processorTime() -> Double {
    var usage = rusage()
    // RUSAGE_SELF, which has another type on Linux than on macOS.
    getrusage(0, &usage)
    return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
      + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
  }
}

/// So many clients that each send a request, wait for its answer, and send the next.
struct Clients {
  private let part: Part
  private let seconds: Double
  private(set) var watch: Watch
  /// Until each answer.
  private(set) var times = Histogram()
  private(set) var acknowledged = 0
  private var begun = 0

  init(_ part: Part, watching process: Int32, seconds: Double) {
    self.part = part
    self.seconds = seconds
    watch = Watch(process: process, seconds: seconds)
  }

  /// Loads the program until the time is over and each request is answered; returns how many seconds that took.
  ///
  /// One thread serves all connections, so that little of the machine goes to the clients.
  mutating func run(port: UInt16) throws -> Double {
    let request = Request(messages: part.messagesEach)
    var connections = try (0..<part.clients).map { _ in try Connection(port: port, request: request) }
    defer { for connection in connections { close(connection.descriptor) } }
    var waits = connections.map { pollfd(fd: $0.descriptor, events: 0, revents: 0) }
    var open = connections.count
    let start = ContinuousClock.now
    let end = start + .seconds(seconds)
    watch.look(0, messages: 0)
    for index in connections.indices { waits[index].events = try next(&connections[index]) }
    while open > 0 {
      guard poll(&waits, nfds_t(waits.count), 60_000) > 0 else {
        throw LoadError(description: "no answer for a minute")
      }
      for index in waits.indices where waits[index].revents != 0 {
        let progress = try connections[index].goOn()
        guard case .answered = progress else {
          waits[index].events = Self.events(progress)
          continue
        }
        let now = ContinuousClock.now
        times.add(now - connections[index].begin)
        acknowledged += part.messagesEach
        let time = (now - start) / .seconds(1)
        if watch.isDue(time) { watch.look(time, messages: acknowledged) }
        if now < end {
          waits[index].events = try next(&connections[index])
        } else {
          waits[index].fd = -1
          open -= 1
        }
      }
    }
    let elapsed = (ContinuousClock.now - start) / .seconds(1)
    watch.look(elapsed, messages: acknowledged)
    return elapsed
  }

  /// Begins the next request; returns what to wait for.
  private mutating func next(_ connection: inout Connection) throws -> Int16 {
    defer { begun += part.messagesEach }
    return Self.events(try connection.start(from: begun))
  }

  private static func events(_ progress: Connection.Progress) -> Int16 {
    if case .writes = progress { Int16(POLLOUT) } else { Int16(POLLIN) }
  }
}

import Foundation

/// So many clients that each send a request, wait for its answer, and send the next.
struct Scenario {
  let name: String
  let options: [String]
  let clients: Int
  let messagesEach: Int

  /// Messages a second, of each round.
  private(set) var rates: [Double] = []
  /// Microseconds of processor time that a message took, of each round.
  private var programCosts: [Double] = []
  private var clientCosts: [Double] = []
  /// Seconds until each answer.
  private var times: [Double] = []

  init(_ name: String, clients: Int, messagesEach: Int, options: [String] = []) {
    self.name = name
    self.options = options
    self.clients = clients
    self.messagesEach = messagesEach
  }

  static let header = """
    | scenario | messages a second | least … most | answer after, median | 99 % | processor time a message, program | clients |
    |---|---:|---:|---:|---:|---:|---:|
    """

  var row: String {
    let sorted = times.sorted()
    let milliseconds = [sorted.count / 2, sorted.count * 99 / 100].map { String(format: "%.1f ms", sorted[$0] * 1000) }
    let costs = [programCosts, clientCosts].map { String(format: "%.1f µs", Self.median($0)) }
    let range = "\(Self.grouped(rates.min() ?? 0)) … \(Self.grouped(rates.max() ?? 0))"
    return "| \(name) | \(Self.grouped(Self.median(rates))) | \(range) | \(milliseconds[0]) | \(milliseconds[1]) "
      + "| \(costs[0]) | \(costs[1]) |"
  }

  var rate: Double { Self.median(rates) }

  /// Starts the program, loads it for so long, stops it, and looks into its database.
  mutating func run(_ program: String, seconds: Double) throws {
    let childrenBefore = Self.processorTime(Self.children)
    let server = try Server(program: program, options: options)
    let selfBefore = Self.processorTime(Self.this)
    let start = ContinuousClock.now
    let messages = try load(port: server.port, until: start + .seconds(seconds))
    let elapsed = (ContinuousClock.now - start) / .seconds(1)
    clientCosts.append((Self.processorTime(Self.this) - selfBefore) * 1e6 / Double(messages))
    try server.stop()
    programCosts.append((Self.processorTime(Self.children) - childrenBefore) * 1e6 / Double(messages))
    try server.expect(messages)
    rates.append(Double(messages) / elapsed)
  }

  /// One thread serves all connections, so that little of the machine goes to the clients.
  private mutating func load(port: UInt16, until end: ContinuousClock.Instant) throws -> Int {
    var messages = 0
    let request = Request(messages: messagesEach)
    var connections = try (0..<clients).map { _ in try Connection(port: port, request: request) }
    defer { for connection in connections { close(connection.descriptor) } }
    var waits = connections.map { pollfd(fd: $0.descriptor, events: 0, revents: 0) }
    var open = clients
    for index in connections.indices {
      waits[index].events = Self.events(try connections[index].start(from: messages))
      messages += messagesEach
    }
    while open > 0 {
      guard poll(&waits, nfds_t(waits.count), 10_000) > 0 else {
        throw LoadError(description: "no answer for ten seconds")
      }
      for index in waits.indices where waits[index].revents != 0 {
        var progress = try connections[index].goOn()
        if case .answered = progress {
          let now = ContinuousClock.now
          times.append((now - connections[index].begin) / .seconds(1))
          guard now < end else {
            waits[index].fd = -1
            open -= 1
            continue
          }
          progress = try connections[index].start(from: messages)
          messages += messagesEach
        }
        waits[index].events = Self.events(progress)
      }
    }
    return messages
  }

  private static func events(_ progress: Connection.Progress) -> Int16 {
    if case .writes = progress { Int16(POLLOUT) } else { Int16(POLLIN) }
  }

  // RUSAGE_SELF and RUSAGE_CHILDREN, which have other types on Linux than on macOS.
  private static let this: Int32 = 0
  private static let children: Int32 = -1

  /// Seconds of processor time, of this process or of those that it has waited for.
  private static func processorTime(_ who: Int32) -> Double {
    var usage = rusage()
    getrusage(who, &usage)
    return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
      + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
  }

  static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

  /// A whole number with commas.
  static func grouped(_ number: Double) -> String {
    var digits = String(Int(number))
    for place in stride(from: digits.count - 3, to: 0, by: -3) {
      digits.insert(",", at: digits.index(digits.startIndex, offsetBy: place))
    }
    return digits
  }
}

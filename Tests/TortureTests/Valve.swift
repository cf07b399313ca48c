import AggregatorTestSupport
import Foundation
import Synchronization

/// A proxy of TCP before the servers of a log, through which a member says nothing any more from the moment on in which a message is
/// delivered to it.
///
/// So the member is killed in the moments that count: with messages that it has not stored, and after the commit, before the
/// acknowledgement is there.
final class Valve: Sendable {
  private enum Mode {
    case open
    /// It closes as soon as a message is delivered; the message still gets through, or is lost.
    case armed(loses: Bool)
    /// What the member says is lost, and perhaps what the server says.
    case closed(losesAll: Bool)
  }

  private struct State {
    var mode = Mode.open
    var identity: String?
    var pairs: [Pair] = []

    /// Whether what the server sends gets through.
    mutating func passes(_ bytes: [UInt8]) -> Bool {
      switch mode {
      case .open: return true
      case .closed(let losesAll): return !losesAll
      case .armed(let loses):
        guard let found = Valve.identity(in: bytes) else { return true }
        identity = found
        mode = .closed(losesAll: loses)
        return !loses
      }
    }

    var isClosed: Bool {
      if case .closed = mode { true } else { false }
    }
  }

  private let state = Mutex(State())
  private let listeners: [Int32]
  /// Where it listens, for each of the ports that it stands before.
  let ports: [Int]

  /// Stands before these ports of loopback.
  init(before targets: [Int]) throws {
    let pairs = try targets.map { _ in try Socket.listening() }
    listeners = pairs.map(\.descriptor)
    ports = pairs.map(\.port)
    for (listener, target) in zip(listeners, targets) {
      // Threads of their own, because they wait.
      Thread.detachNewThread { [weak self] in
        while true {
          let client = accept(listener, nil, nil)
          guard client >= 0 else { return }
          guard let self, let server = try? Socket.connected(to: target) else {
            close(client)
            continue
          }
          self.join(client, server)
        }
      }
    }
  }

  deinit {
    for listener in listeners {
      shutdown(listener, Int32(SHUT_RDWR))
      close(listener)
    }
  }

  /// Closes at the next message that is delivered to the member.
  ///
  /// - Parameter loses: Whether that does not arrive either, nor what comes after it.
  func arm(loses: Bool) {
    state.withLock { state in
      state.mode = .armed(loses: loses)
      state.identity = nil
    }
  }

  /// The identity of the message at which it has closed; `nil` while it has not.
  var identity: String? { state.withLock { $0.identity } }

  /// Ends all connections, and lets new ones through.
  func open() {
    let pairs = state.withLock { state in
      state.mode = .open
      defer { state.pairs = [] }
      return state.pairs
    }
    for pair in pairs { pair.end() }
  }

  private func join(_ client: Int32, _ server: Int32) {
    let pair = Pair(client, server)
    state.withLock { $0.pairs.append(pair) }
    Thread.detachNewThread { [self] in
      Socket.copy(from: client, to: server) { _ in state.withLock { !$0.isClosed } }
      end(pair)
    }
    Thread.detachNewThread { [self] in
      Socket.copy(from: server, to: client) { bytes in state.withLock { $0.passes(bytes) } }
      end(pair)
    }
  }

  private func end(_ pair: Pair) {
    pair.end()
    state.withLock { $0.pairs.removeAll { $0 === pair } }
  }

  /// The last whole one in what a server sends.
  fileprivate static func identity(in bytes: [UInt8]) -> String? {
    String(decoding: bytes, as: UTF8.self).matches(of: /Aggregator-Identity: ?([^\r\n]+)\r\n/).last
      .map { String($0.1) }
  }
}

/// Two connections that end together; they are closed when nobody uses them any more, so that no descriptor is another's.
private final class Pair: Sendable {
  private let descriptors: [Int32]

  init(_ client: Int32, _ server: Int32) {
    descriptors = [client, server]
  }

  func end() {
    for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
  }

  deinit {
    for descriptor in descriptors { close(descriptor) }
  }
}

private enum Socket {
  static func listening() throws -> (descriptor: Int32, port: Int) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && listen(descriptor, 16) == 0 ? getsockname(descriptor, $0, &length) : -1
      }
    }
    // A program that the test starts must not keep it open.
    guard result == 0, fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else { throw failure("listening") }
    return (descriptor, Int(in_port_t(bigEndian: address.sin_port)))
  }

  static func connected(to port: Int) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(port)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0, fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else {
      close(descriptor)
      throw failure("connecting")
    }
    return descriptor
  }

  private static func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return address
  }

  private static func failure(_ doing: String) -> NotInTime {
    NotInTime(description: "\(doing): \(String(cString: strerror(errno)))")
  }

  /// Passes on what comes, as long as it comes; what `passes` says no to is lost.
  static func copy(from source: Int32, to sink: Int32, _ passes: ([UInt8]) -> Bool) {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = recv(source, &buffer, buffer.count, 0)
      guard count > 0 else { return }
      let bytes = Array(buffer[..<count])
      guard passes(bytes) else { continue }
      var sent = 0
      while sent < count {
        let more = bytes[sent...].withUnsafeBytes { send(sink, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        guard more > 0 else { return }
        sent += more
      }
    }
  }
}

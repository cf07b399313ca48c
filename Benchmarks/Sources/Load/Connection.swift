import Foundation
import LoadSupport

/// A keep-alive connection that never blocks: a request, its answer, the next request.
///
/// Plain sockets and no parser, because the client shares the machine with what it measures and should take little of it.
struct Connection {
  enum Progress {
    /// Wait for `POLLIN`.
    case reads
    /// Wait for `POLLOUT`.
    case writes
    /// The answer is there, and it is the one that was expected.
    case answered
  }

  let descriptor: Int32
  private(set) var begin = ContinuousClock.now
  private var sent = 0
  private var request: Request
  private var answer = [UInt8](repeating: 0, count: 4096)
  private var received = 0

  init(port: UInt16, request: Request) throws {
    self.request = request
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0, fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0 else {
      close(descriptor)
      throw LoadError(description: "nobody listens on port \(port)")
    }
    var one: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
  }

  /// Begins the next request, whose messages are numbered from `first`.
  mutating func start(from first: Int) throws -> Progress {
    request.number(from: first)
    sent = 0
    received = 0
    begin = .now
    return try goOn()
  }

  /// Sends what is left of the request, then reads its answer, as far as that goes without waiting.
  mutating func goOn() throws -> Progress {
    while sent < request.bytes.count {
      let more = request.bytes.withUnsafeBytes {
        send(descriptor, $0.baseAddress.map { $0 + sent }, $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      if more < 0, errno == EAGAIN { return .writes }
      guard more > 0 else { throw LoadError(description: "the connection broke while sending") }
      sent += more
      if sent == request.bytes.count { return .reads }
    }
    while true {
      let (descriptor, start) = (descriptor, received)
      let more = answer.withUnsafeMutableBytes {
        recv(descriptor, $0.baseAddress.map { $0 + start }, $0.count - start, 0)
      }
      if more < 0, errno == EAGAIN { return .reads }
      guard more > 0 else { throw LoadError(description: "the connection broke before the answer was there") }
      received += more
      if try isAnswered() { return .answered }
    }
  }

  /// The answer is whole when the body that is expected is behind its head.
  private func isAnswered() throws -> Bool {
    guard let end = headEnd() else { return false }
    guard answer.starts(with: "HTTP/1.1 200 ".utf8), received <= end + 4 + request.answer.count else {
      throw LoadError(description: "answered: \(String(decoding: answer[..<received], as: UTF8.self))")
    }
    return answer[(end + 4)..<received].elementsEqual(request.answer)
  }

  /// Where the head of the answer ends; it is a hundred bytes long.
  private func headEnd() -> Int? {
    guard received >= 4 else { return nil }
    return (0...(received - 4)).first {
      answer[$0] == 13 && answer[$0 + 1] == 10 && answer[$0 + 2] == 13 && answer[$0 + 3] == 10
    }
  }
}

/// The bytes of a request with so many messages of 200 bytes, each of which has a number of its own.
struct Request {
  private(set) var bytes: [UInt8]
  /// The body of the answer that it should get.
  let answer: [UInt8]
  private let bodyStart: Int
  private let messages: Int

  static let messageSize = 200
  /// What each message begins with; its number comes next.
  static let start = "{\"id\":\""
  static let digits = 10

  init(messages: Int) {
    self.messages = messages
    let number = String(repeating: "0", count: Self.digits)
    let message = Self.start + number + "\",\"text\":\""
    let line = message + String(repeating: "x", count: Self.messageSize - message.utf8.count - 2) + "\"}"
    let body = Array(repeating: line, count: messages).joined(separator: "\n")
    let head =
      "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"
      + "Content-Type: application/\(messages == 1 ? "json" : "x-ndjson")\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
    bytes = Array((head + body).utf8)
    bodyStart = head.utf8.count
    answer = Array("{\"stored\":\(messages)}\n".utf8)
  }

  /// Writes the numbers into it.
  mutating func number(from first: Int) {
    for message in 0..<messages {
      var rest = first + message
      var place = bodyStart + message * (Self.messageSize + 1) + Self.start.utf8.count + Self.digits
      for _ in 0..<Self.digits {
        place -= 1
        bytes[place] = UInt8(ascii: "0") + UInt8(rest % 10)
        rest /= 10
      }
    }
  }
}

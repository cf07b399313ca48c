import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import AggregatorService

/// Clients that are slow, on a clock that the test turns.
@Suite("Connections")
struct ConnectionHandlerTests {
  private let count = ConnectionCount()

  private func connect() throws -> EmbeddedChannel {
    let limits = ConnectionLimits(header: .seconds(10), body: .seconds(30), part: 1_000)
    let channel = EmbeddedChannel(handler: ConnectionHandler(limits: limits, count: count))
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    return channel
  }

  private let head = HTTPRequestPart.head(HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/"))

  private func receive(_ parts: HTTPRequestPart..., on channel: EmbeddedChannel) throws {
    for part in parts { try channel.writeInbound(part) }
    channel.pipeline.fireChannelReadComplete()
  }

  /// The status that was sent, and whether the connection was told to close.
  private func answer(_ channel: EmbeddedChannel) throws -> (status: Int, closes: Bool)? {
    while let part = try channel.readOutbound(as: HTTPResponsePart.self) {
      if case .head(let head) = part { return (head.status.code, head.headerFields[.connection] == "close") }
    }
    return nil
  }

  @Test func `open connections are counted`() throws {
    let one = try connect()
    let other = try connect()
    #expect(count.current == 2)
    _ = try one.finish()
    #expect(count.current == 1)
    _ = try other.finish()
    #expect(count.current == 0)
  }

  @Test func `a request on a connection too many is answered 503, and the connection closed`() throws {
    let limits = ConnectionLimits(connections: 1, header: .seconds(10), body: .seconds(30), part: 1_000)
    func connect() throws -> EmbeddedChannel {
      let channel = EmbeddedChannel(handler: ConnectionHandler(limits: limits, count: count))
      try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
      return channel
    }
    let first = try connect()
    let second = try connect()
    try receive(head, .end(nil), on: second)
    let answer = try #require(try answer(second))
    #expect(answer == (503, true))
    #expect(try second.readInbound(as: HTTPRequestPart.self) == nil)
    second.embeddedEventLoop.advanceTime(by: .seconds(2))
    #expect(!second.isActive)
    // The one that was there is served, and when it is gone there is room for another.
    try receive(head, .end(nil), on: first)
    #expect(try first.readInbound(as: HTTPRequestPart.self) != nil)
    _ = try first.finish()
    let third = try connect()
    try receive(head, .end(nil), on: third)
    #expect(try third.readInbound(as: HTTPRequestPart.self) != nil)
  }

  @Test func `a head that does not come in time ends the connection, one that does is served`() throws {
    let slow = try connect()
    slow.embeddedEventLoop.advanceTime(by: .milliseconds(9_999))
    #expect(slow.isActive)
    slow.embeddedEventLoop.advanceTime(by: .milliseconds(1))
    #expect(!slow.isActive)

    let fast = try connect()
    fast.embeddedEventLoop.advanceTime(by: .seconds(9))
    try receive(head, .end(nil), on: fast)
    fast.embeddedEventLoop.advanceTime(by: .hours(1))
    #expect(fast.isActive)
  }

  @Test func `a body that does not come in time is answered 408, and the connection closed`() throws {
    let channel = try connect()
    try receive(head, .body(ByteBuffer(string: "[1,")), on: channel)
    channel.read()
    channel.embeddedEventLoop.advanceTime(by: .milliseconds(29_999))
    #expect(try answer(channel) == nil)
    channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
    let answer = try #require(try answer(channel))
    #expect(answer == (408, true))
    channel.embeddedEventLoop.advanceTime(by: .seconds(2))
    #expect(!channel.isActive)
  }

  @Test func `each part of a body has its time`() throws {
    let channel = try connect()
    try receive(head, on: channel)
    for _ in 0..<10 {
      channel.read()
      channel.embeddedEventLoop.advanceTime(by: .seconds(29))
      try receive(.body(ByteBuffer(repeating: 0x20, count: 1_000)), on: channel)
    }
    #expect(try answer(channel) == nil)
    // A few bytes are no part.
    channel.read()
    channel.embeddedEventLoop.advanceTime(by: .seconds(29))
    try receive(.body(ByteBuffer(string: " ")), on: channel)
    channel.read()
    channel.embeddedEventLoop.advanceTime(by: .seconds(1))
    #expect(try answer(channel)?.status == 408)
  }

  @Test func `time in which nobody reads is not the client's`() throws {
    let channel = try connect()
    try receive(head, .body(ByteBuffer(string: "1")), on: channel)
    channel.embeddedEventLoop.advanceTime(by: .hours(1))
    #expect(try answer(channel) == nil)
    channel.read()
    channel.embeddedEventLoop.advanceTime(by: .seconds(31))
    #expect(try answer(channel)?.status == 408)
  }

  @Test func `a request that has been answered gets no second answer`() throws {
    let channel = try connect()
    try receive(head, .body(ByteBuffer(string: "1")), on: channel)
    channel.read()
    try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .unsupportedMediaType)))
    try channel.writeOutbound(HTTPResponsePart.end(nil))
    #expect(try answer(channel)?.status == 415)
    channel.embeddedEventLoop.advanceTime(by: .seconds(30))
    #expect(try answer(channel) == nil)
    #expect(!channel.isActive)
  }

  @Test func `an answer that closes closes the connection, and what comes later is not read`() throws {
    let channel = try connect()
    try receive(head, on: channel)
    _ = try channel.readInbound(as: HTTPRequestPart.self)
    try channel.writeOutbound(
      HTTPResponsePart.head(HTTPResponse(status: .contentTooLarge, headerFields: [.connection: "close"])))
    try channel.writeOutbound(HTTPResponsePart.end(nil))
    try receive(.body(ByteBuffer(string: "more")), on: channel)
    #expect(try channel.readInbound(as: HTTPRequestPart.self) == nil)
    channel.embeddedEventLoop.advanceTime(by: .seconds(2))
    #expect(!channel.isActive)
  }
}

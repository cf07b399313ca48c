import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Logging
import Testing

@testable import NATSLog

@Suite("Addresses of NATS")
struct NATSAddressTests {
  @Test func `several servers, a user and a path`() throws {
    let address = try NATSAddress("nats://ann:p%40ss@a,b:4333,[::1]:4,[::2]/EVENTS?replicas=3")
    #expect(address.servers == ["nats://a:4222", "nats://b:4333", "nats://[::1]:4", "nats://[::2]:4222"])
    #expect(address.user == "ann" && address.password == "p@ss" && address.token == nil)
    #expect(address.resource == "EVENTS" && address.parameters == ["replicas": "3"] && address.tls == nil)
    #expect("\(address)" == "nats://a:4222,b:4333,[::1]:4,[::2]:4222/EVENTS")
  }

  @Test func `a user alone is a token, and secrets may be in files`() throws {
    let folder = try TemporaryFolder()
    try Data("hush\n".utf8).write(to: URL(fileURLWithPath: folder.file("secret")))
    #expect(try NATSAddress("nats://tok@a").token == "tok")
    let user = try NATSAddress("nats://ann@a?password_file=\(folder.file("secret"))")
    #expect(user.user == "ann" && user.password == "hush" && user.token == nil)
    let token = try NATSAddress("nats://a/S?token_file=\(folder.file("secret"))")
    #expect(token.token == "hush" && token.parameters.isEmpty)
  }

  @Test func `encryption is asked for by the scheme, a parameter or a file`() throws {
    let folder = try TemporaryFolder()
    for name in ["ca", "cert", "key"] { try Data().write(to: URL(fileURLWithPath: folder.file(name))) }
    #expect(try NATSAddress("tls://a").tls != nil)
    #expect(try NATSAddress("nats://a?tls=true").tls != nil)
    let files = try NATSAddress(
      "nats://a?tls_ca=\(folder.file("ca"))&tls_cert=\(folder.file("cert"))&tls_key=\(folder.file("key"))")
    #expect(files.tls?.authorities == folder.file("ca") && files.tls?.key == folder.file("key"))
  }

  @Test(arguments: [
    ("http://a", "no address of NATS"), ("nats://", "servers"), ("nats://a,", "servers"), ("nats://a:x", "servers"),
    ("nats://a:70000", "servers"), ("nats://u:se%zzcret@a", "percent-encoded"),
    ("nats://a?replicas", "without a value"),
    ("nats://a?x=1&x=2", "twice"), ("nats://a?tls_cert=/f", "go together"), ("nats://a?tls=1", "tls is true"),
    ("nats://se-cret@a?creds=/nowhere/c", "is not there"), ("nats://se-cret@a?token_file=/nowhere/t", "is not there"),
  ])
  func `what is wrong is said, without secrets`(text: String, words: String) {
    let error = #expect(throws: ProgramError.self) { try NATSAddress(text) }
    #expect(error?.description.contains(words) == true)
    #expect(error?.description.contains("-cret") == false && error?.description.contains("zzcret") == false)
  }

  @Test(arguments: [
    ("/EVENTS?replicas=6", "from 1 to 5"), ("/EVENTS?replica=3", "no parameter 'replica'"), ("", "names no stream"),
    ("/EV.ENTS", "no name of a stream"), ("/EVENTS?duplicates=2", "such as 500ms"), ("/EVENTS?window=0", "from 1 to"),
  ])
  func `a sink refuses parameters that make no sense`(rest: String, words: String) throws {
    let address = try NATSAddress("nats://a\(rest)")
    let error = #expect(throws: ProgramError.self) { try JetStreamSink(address, logger: quiet) }
    #expect(error?.description.contains(words) == true)
  }

  @Test(arguments: [
    ("?stream=EVENTS", "no stream or no durable"), ("?durable=d", "no stream or no durable"),
    ("?stream=E&durable=a.b", "no name of a durable"),
    ("?stream=E&durable=d&default=Big", "no name of a stream"),
    ("?stream=E&durable=d&window=1", "no parameter 'window'"),
    ("?stream=E&durable=d&ack_wait=10ms", "such as 500ms"),
  ])
  func `a consumer refuses parameters that make no sense`(rest: String, words: String) throws {
    let address = try NATSAddress("nats://a\(rest)")
    let error = #expect(throws: ProgramError.self) { try JetStreamConsumer(address, logger: quiet) }
    #expect(error?.description.contains(words) == true)
  }
}

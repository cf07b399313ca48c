import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Logging
import Testing

@testable import KafkaLog

@Suite struct KafkaAddressTests {
  @Test func `An address says brokers, topic, group and librdkafka's configuration`() throws {
    let address = try KafkaAddress(
      "kafka://one,two:9093,[::1]:9094/a.b_c-D?group=g%2F1&sasl.username=me&sasl.password=p%26w")
    #expect(address.brokers == ["one:9092", "two:9093", "[::1]:9094"])
    #expect(address.topic.name(of: .messages) == "a.b_c-D")
    #expect(address.group == "g/1")
    #expect(address.parameters.map(\.value) == ["me", "p&w"])
    #expect(address.description == "kafka://one:9092,two:9093,[::1]:9094/a.b_c-D")
  }

  @Test func `A file of properties is read in place of parameters`() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("kafka.properties")
    try Data("# a comment\n\n security.protocol = SASL_SSL\nsasl.password=a=b\n".utf8).write(
      to: URL(fileURLWithPath: path))
    let address = try KafkaAddress("kafka://h/t?config=\(path)&client.id=x")
    #expect(address.parameters.map(\.name) == ["security.protocol", "sasl.password", "client.id"])
    #expect(address.parameters.map(\.value) == ["SASL_SSL", "a=b", "x"])
  }

  @Test(arguments: [
    ("http://h/t", "no Kafka cluster"), ("kafka://h", "names no topic"), ("kafka://h/", "names no topic"),
    ("kafka:///t", "no broker"), ("kafka://h:x/t", "no broker"), ("kafka://a,,b/t", "no broker"),
    ("kafka://h/t?group", "has no value"), ("kafka://h/t?group=", "names no group"),
    ("kafka://u:hunter2@h/t", "sasl.username"), ("kafka://h/t%20x", "no name of a topic"),
    ("kafka://h/{stream}{stream}", "no name of a topic"), ("kafka://h/t?identity=x", "identity=header"),
    ("kafka://h/t?config=/nowhere", "cannot be read"),
  ])
  func `What makes no sense is explained`(_ text: String, _ words: String) {
    let error = #expect(throws: ProgramError.self) { try KafkaAddress(text) }
    #expect(error?.description.contains(words) == true, "\(error as Any)")
    #expect(error?.description.contains("hunter2") == false)
  }

  @Test func `A topic of each stream is found again by its name`() throws {
    let topic = try KafkaTopic("in.{stream}-v1")
    let orders = try StreamName("orders")
    #expect(topic.name(of: orders) == "in.orders-v1")
    #expect(topic.subscription == "^in\\.[a-z][a-z0-9_-]*-v1$")
    #expect(topic.stream(of: "in.orders-v1") == orders)
    #expect(topic.stream(of: "in.-v1") == nil)
    #expect(topic.stream(of: "in.Orders-v1") == nil)
    #expect(topic.stream(of: "other") == nil)
    #expect(try KafkaTopic("plain").stream(of: "plain") == nil)
  }

  @Test(arguments: [
    ("nonsense=1", "'nonsense' is no property"), ("compression.codec=none-such", "'compression.codec' cannot be set"),
    ("acks=1", "'acks' cannot be given"), ("ssl.key.password=hunter2&security.protocol=hunter2", "'security.protocol'"),
    ("queue.buffering.max.messages=-5", "'queue.buffering.max.messages'"),
  ])
  func `A property that is refused is named`(_ parameters: String, _ words: String) throws {
    let address = try KafkaAddress("kafka://h/t?\(parameters)")
    let error = #expect(throws: ProgramError.self) { try KafkaSink(address, logger: Logger(label: "test")) }
    #expect(error?.description.contains(words) == true, "\(error as Any)")
  }

  @Test func `A secret is in no error`() throws {
    for parameter in ["ssl.key.pem=hunter2", "ssl.key.location=/hunter2", "sasl.password=hunter2&sasl.mechanism=PLAIN"]
    {
      let address = try KafkaAddress("kafka://h/t?security.protocol=SASL_SSL&\(parameter)")
      #expect(!"\(address)".contains("hunter2"))
      do {
        let sink = try KafkaSink(address, logger: Logger(label: "test"))
        _ = sink
      } catch {
        #expect(!error.description.contains("hunter2"), "\(error)")
      }
    }
  }

  @Test func `A source needs a group, and a target has none`() throws {
    let logger = Logger(label: "test")
    #expect(throws: ProgramError.self) { try KafkaConsumer(KafkaAddress("kafka://h/t"), logger: logger) }
    #expect(throws: ProgramError.self) { try KafkaSink(KafkaAddress("kafka://h/t?group=g"), logger: logger) }
  }
}

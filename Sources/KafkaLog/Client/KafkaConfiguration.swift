import AggregatorStorage
import CKafka

/// The configuration of a client of librdkafka, which explains what is refused without telling a secret.
struct KafkaConfiguration: ~Copyable {
  /// Taken by the client that is made of it.
  private var pointer: OpaquePointer?
  private let address: KafkaAddress

  /// What the guarantees rest on, which cannot be had otherwise, and why.
  private static let fixed: [String: String] = [
    "bootstrap.servers": "the brokers stand in the address",
    "metadata.broker.list": "the brokers stand in the address",
    "group.id": "give group=NAME",
    "enable.auto.commit": "an offset is committed when its messages are in the sink",
    "enable.auto.offset.store": "an offset is committed when its messages are in the sink",
    "enable.partition.eof": "the lag is counted with it",
    "acks": "a message is answered for when all replicas in sync have it",
    "request.required.acks": "a message is answered for when all replicas in sync have it",
    "enable.idempotence": "order and single delivery rest on it",
    "delivery.report.only.error": "a message is settled by its delivery report",
    "log.queue": "log lines go the program's way",
    "statistics.interval.ms": "commits go by it",
    "transactional.id": "no transactions are used",
  ]

  /// Begins with what the program needs, and then takes what the operator gave.
  ///
  /// - Parameters:
  ///   - address: The cluster and the operator's parameters.
  ///   - defaults: What operators may give otherwise.
  ///   - fixed: What they may not.
  /// - Throws: ``ProgramError`` that names the property that is refused.
  init(
    _ address: KafkaAddress, defaults: [(String, String)], fixed: [(String, String)]
  ) throws(ProgramError) {
    self.address = address
    pointer = rd_kafka_conf_new()
    for (name, value) in defaults { try set(name, value) }
    for parameter in address.parameters {
      if let why = Self.fixed[parameter.name] {
        throw ProgramError("\(address): '\(parameter.name)' cannot be given, because \(why)")
      }
      try set(parameter.name, parameter.value)
    }
    for (name, value) in fixed { try set(name, value) }
    try set("bootstrap.servers", address.brokers.joined(separator: ","))
    try set("client.id", address.parameters.last { $0.name == "client.id" }?.value ?? "aggregator")
    try set("log.queue", "true")
  }

  private func set(_ name: String, _ value: String) throws(ProgramError) {
    var reason = [CChar](repeating: 0, count: 512)
    switch rd_kafka_conf_set(pointer, name, value, &reason, reason.count) {
    case RD_KAFKA_CONF_OK: return
    case RD_KAFKA_CONF_UNKNOWN:
      throw ProgramError(
        "\(address): '\(name)' is no property of librdkafka \(String(cString: rd_kafka_version_str()))")
    default:
      // librdkafka quotes the value.
      let why = Self.isSecret(name) ? "its value is refused" : Self.text(reason)
      throw ProgramError("\(address): '\(name)' cannot be set: \(why)")
    }
  }

  /// Whether the value of a property is nobody's business.
  static func isSecret(_ name: String) -> Bool {
    ["password", "secret", "key", "pem", "token", "oauthbearer", "username", "jaas"].contains { name.contains($0) }
  }

  static func text(_ reason: [CChar]) -> String {
    String(decoding: reason.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// The value that a property has.
  func value(of name: String) -> String? {
    var size = 256
    var value = [CChar](repeating: 0, count: size)
    guard rd_kafka_conf_get(pointer, name, &value, &size) == RD_KAFKA_CONF_OK else { return nil }
    return Self.text(value)
  }

  /// Which kinds of events come by the queue, all of those that would be callbacks.
  func enable(_ events: Int32) {
    rd_kafka_conf_set_events(pointer, events)
  }

  /// Makes a client, and ends this.
  consuming func makeClient(_ type: rd_kafka_type_t) throws(ProgramError) -> OpaquePointer {
    var reason = [CChar](repeating: 0, count: 512)
    guard let client = rd_kafka_new(type, pointer, &reason, reason.count) else {
      let parameters = address.parameters.filter { Self.isSecret($0.name) && !$0.value.isEmpty }
      // Whatever it says, it shall not tell a secret.
      let text = parameters.reduce(Self.text(reason)) { $0.replacing($1.value, with: "…") }
      throw ProgramError("\(address): librdkafka makes no client: \(text)")
    }
    pointer = nil
    return client
  }

  deinit {
    if let pointer { rd_kafka_conf_destroy(pointer) }
  }
}

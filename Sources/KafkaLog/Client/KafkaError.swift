import CKafka

/// What librdkafka says of a failure.
struct KafkaError: Error, Hashable, CustomStringConvertible {
  let code: rd_kafka_resp_err_t

  init(_ code: rd_kafka_resp_err_t) {
    self.code = code
  }

  /// Takes one of those that have to be freed; `nil` for none.
  init?(taking error: OpaquePointer?) {
    guard let error else { return nil }
    code = rd_kafka_error_code(error)
    rd_kafka_error_destroy(error)
  }

  static func == (left: KafkaError, right: KafkaError) -> Bool { left.code.rawValue == right.code.rawValue }
  func hash(into hasher: inout Hasher) { hasher.combine(code.rawValue) }

  /// The name by which the field knows it, such as `_MSG_TIMED_OUT`.
  var name: String { String(cString: rd_kafka_err2name(code)) }

  /// In librdkafka's words, with the name.
  var description: String { "\(String(cString: rd_kafka_err2str(code))) (\(name))" }

  /// What is wrong with a message that was not taken.
  enum Kind {
    /// It passes: an outage, an election, a queue that is full.
    case passing
    /// An operator has to do something, and then the same messages are taken.
    case operators
    /// It is about this message, or where it is to go, and stays so.
    case refusal
    /// This producer is at its end; a new one may go on.
    case fatal
  }

  /// What kind of failure it is for a message that was produced.
  var kind: Kind {
    switch code {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_MSG, RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE,
      RD_KAFKA_RESP_ERR_INVALID_RECORD, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
      RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
      RD_KAFKA_RESP_ERR__INVALID_ARG, RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
      .refusal
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR__SSL,
      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
      .operators
    case RD_KAFKA_RESP_ERR__FATAL, RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR__PURGE_QUEUE,
      RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE,
      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
      .fatal
    default: .passing
    }
  }

  /// What the operator can do about it; empty where the words say it.
  var advice: String {
    switch code {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      "; raise message.max.bytes of the topic and of this program, or send smaller messages"
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
      "; make the topic, or let the brokers make it (auto.create.topics.enable)"
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED: "; grant this user the topic"
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED: "; grant this user READ on the group"
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, RD_KAFKA_RESP_ERR__AUTHENTICATION:
      "; see security.protocol, sasl.mechanism, sasl.username and sasl.password"
    case RD_KAFKA_RESP_ERR__SSL: "; see security.protocol and ssl.ca.location"
    default: ""
    }
  }
}

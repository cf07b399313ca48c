import AggregatorService
import AggregatorStorage

#if NATS
  import NATSLog
#endif
#if KAFKA
  import KafkaLog
#endif

/// The logs that this program was built with (`ENGINES=nats,kafka swift build`).
enum Engines {
  static func register() {
    #if NATS
      LogEngines.register(
        LogEngine(schemes: ["nats", "tls"], form: "nats://HOST?stream=STREAM&durable=NAME") { url, _, logger in
          try JetStreamSink(NATSAddress(url), logger: logger)
        } consumer: { url, _, logger in
          try JetStreamConsumer(NATSAddress(url), logger: logger)
        })
    #endif
    #if KAFKA
      LogEngines.register(
        LogEngine(schemes: ["kafka"], form: "kafka://BROKER/TOPIC?group=NAME") { url, options, logger in
          guard let field = options.keyField else { return try KafkaSink(KafkaAddress(url), logger: logger) }
          return try KafkaSink(KafkaAddress(url), key: .value { $0.member(named: field) }, logger: logger)
        } consumer: { url, options, logger in
          var consumer = KafkaConsumer.Options()
          consumer.stream = options.stream
          return try KafkaConsumer(KafkaAddress(url), options: consumer, logger: logger)
        })
    #endif
  }
}

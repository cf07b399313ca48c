import AggregatorTestSupport
import NATSLog

extension NATSCluster {
  func address(_ rest: String, user: String = "") throws -> NATSAddress {
    try NATSAddress("nats://\(user)\(hosts)\(rest)")
  }
}

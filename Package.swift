// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "swift-batching",
  platforms: [.macOS(.v26)],
  products: [
    .library(name: "Batching", targets: ["Batching"]),
    .library(name: "BatchingTesting", targets: ["BatchingTesting"]),
    .executable(name: "aggregator", targets: ["aggregator"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0", traits: ["YAML"]),
    .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-distributed-tracing.git", from: "1.7.3"),
    .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.35.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
    .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1"),
    .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
  ],
  targets: [
    // The library: no Foundation, no NIO.
    .target(
      name: "Batching",
      dependencies: [
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Tracing", package: "swift-distributed-tracing"),
      ]
    ),
    // What users test their own handlers with, and we the library: manual clock, recorder, simulation.
    .target(name: "BatchingTesting", dependencies: ["Batching"]),
    .testTarget(
      name: "BatchingTests",
      dependencies: [
        "Batching",
        "BatchingTesting",
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "InMemoryLogging", package: "swift-log"),
        .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "MetricsTestKit", package: "swift-metrics"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
        .product(name: "Tracing", package: "swift-distributed-tracing"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]
    ),
    // The program: command → service → storage → library.
    .executableTarget(
      name: "aggregator",
      dependencies: [
        "AggregatorService",
        "AggregatorStorage",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Logging", package: "swift-log"),
      ]
    ),
    // Takes messages and answers; what is seen of it.
    .target(
      name: "AggregatorService",
      dependencies: [
        "AggregatorStorage",
        "Batching",
        "CZlib",
        .product(name: "Configuration", package: "swift-configuration"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      resources: [.embedInCode("Admin/Page")]
    ),
    // Keeps messages: sinks, journal, dead letters. No server.
    .target(
      name: "AggregatorStorage",
      dependencies: [
        "Batching",
        "CZlib",
        "PostgresClient",
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "HeapModule", package: "swift-collections"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]
    ),
    // All of libpq that is used, off the cooperative threads.
    .target(name: "PostgresClient", dependencies: ["CPostgres"]),
    .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"]), .brew(["libpq"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .testTarget(
      name: "AggregatorStorageTests",
      dependencies: [
        "AggregatorStorage",
        "AggregatorTestSupport",
        "Batching",
        "PostgresClient",
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]
    ),
    .testTarget(
      name: "AggregatorServiceTests",
      dependencies: [
        "AggregatorService",
        "AggregatorStorage",
        "AggregatorTestSupport",
        "CZlib",
        "Batching",
        "aggregator",  // started by the tests
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdTesting", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]
    ),
    // The program under kill -9, outages, hostile input and load.
    .testTarget(
      name: "TortureTests",
      dependencies: [
        "AggregatorTestSupport",
        "BatchingTesting",
        "aggregator",  // started by the tests
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ]
    ),
    // Processes, folders and waiting for the tests of the program.
    .target(
      name: "AggregatorTestSupport", dependencies: ["AggregatorStorage"], path: "Tests/AggregatorTestSupport"),
  ],
  swiftLanguageModes: [.v6]
)

// For work on the library alone: LIBRARY_ONLY=1 swift test resolves and builds no server and no database.
if Context.environment["LIBRARY_ONLY"] == "1" {
  let library = ["Batching", "BatchingTesting", "BatchingTests"]
  package.products.removeAll { !library.contains($0.name) }
  package.targets.removeAll { !library.contains($0.name) }
  let packages = package.targets.flatMap(\.dependencies).compactMap {
    if case .productItem(_, let package, _, _) = $0 { package } else { nil }
  }
  package.dependencies.removeAll { dependency in
    guard case .sourceControl(_, let location, _) = dependency.kind else { return false }
    return !packages.contains { location.hasSuffix("/\($0).git") }
  }
}

// Engines of logs, each with a C library of its own, are built only when they are asked for: ENGINES=nats,kafka swift build.
// Nothing of them is declared otherwise. No package trait, because a trait cannot take targets out of the package that is built.
let engines = (Context.environment["ENGINES"] ?? "").split(separator: ",")
if let unknown = engines.first(where: { !["nats", "kafka"].contains($0) }) {
  fatalError("ENGINES names '\(unknown)', which is none: give nats, kafka, both with a comma between them, or nothing")
}
if engines.contains("nats") {
  package.targets += [
    .systemLibrary(name: "CNATS", pkgConfig: "libnats", providers: [.apt(["libnats-dev"])]),
    .target(
      name: "NATSLog",
      dependencies: [
        "AggregatorStorage",
        "Batching",
        "CNATS",
        .product(name: "Logging", package: "swift-log"),
      ]
    ),
    .testTarget(
      name: "NATSLogTests",
      dependencies: [
        "AggregatorStorage",
        "AggregatorTestSupport",
        "Batching",
        "NATSLog",
        "aggregator",  // started by the tests
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]
    ),
  ]
  for target in package.targets where ["aggregator", "TortureTests"].contains(target.name) {
    if target.name == "aggregator" { target.dependencies.append("NATSLog") }
    target.swiftSettings = (target.swiftSettings ?? []) + [.define("NATS")]
  }
}

if engines.contains("kafka") {
  package.targets += [
    .systemLibrary(name: "CKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"]), .brew(["librdkafka"])]),
    .target(
      name: "KafkaLog",
      dependencies: [
        "AggregatorStorage",
        "Batching",
        "CKafka",
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "Logging", package: "swift-log"),
      ]
    ),
    // A cluster that the tests torture: librdkafka's own, in memory.
    .executableTarget(name: "kafka-mock", dependencies: ["CKafka"]),
    .testTarget(
      name: "KafkaLogTests",
      dependencies: [
        "AggregatorStorage",
        "AggregatorTestSupport",
        "Batching",
        "CKafka",
        "KafkaLog",
        "kafka-mock",  // started by the tests
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]
    ),
  ]
  for target in package.targets where ["aggregator", "TortureTests"].contains(target.name) {
    target.dependencies.append(target.name == "aggregator" ? "KafkaLog" : "kafka-mock")
    target.swiftSettings = (target.swiftSettings ?? []) + [.define("KAFKA")]
  }
}

// One set of rules for every target. CI turns warnings into errors.
for target in package.targets where target.type != .system {
  var settings = target.swiftSettings ?? []
  settings += [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  ]
  if Context.environment["WARNINGS_AS_ERRORS"] == "1" {
    settings.append(.treatAllWarnings(as: .error))
  }
  target.swiftSettings = settings
}

// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "batching-examples",
  platforms: [.macOS(.v26)],
  dependencies: [
    .package(name: "swift-batching", path: ".."),
    .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
    .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
  ],
  targets: [
    .executableTarget(
      name: "WithServiceGroup",
      dependencies: [
        .product(name: "Batching", package: "swift-batching"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]
    ),
    .executableTarget(
      name: "WithAggregator", dependencies: [.product(name: "Batching", package: "swift-batching")]),
    .executableTarget(
      name: "FromSynchronousCode", dependencies: [.product(name: "Batching", package: "swift-batching")]),
    .executableTarget(
      name: "DataLoader",
      dependencies: [
        .product(name: "Batching", package: "swift-batching"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]
    ),
    .executableTarget(
      name: "GroupCommit",
      dependencies: [
        .product(name: "Batching", package: "swift-batching"),
        .product(name: "GRDB", package: "GRDB.swift"),
      ]
    ),
    .executableTarget(
      name: "ByTenant", dependencies: [.product(name: "Batching", package: "swift-batching")]),
  ],
  swiftLanguageModes: [.v6]
)

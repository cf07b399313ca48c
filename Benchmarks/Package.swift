// swift-tools-version: 6.2
import PackageDescription

// A package of its own: users of the library never resolve what only the benchmarks need.
let package = Package(
  name: "batching-benchmarks",
  platforms: [.macOS(.v26)],
  dependencies: [
    .package(name: "swift-batching", path: ".."),
    .package(url: "https://github.com/apple/swift-async-algorithms.git", from: "1.1.4"),
  ],
  targets: [
    // What handing over a message costs, beside the floor and beside others.
    .executableTarget(
      name: "Suite",
      dependencies: [
        .product(name: "AsyncAlgorithms", package: "swift-async-algorithms"),
        .product(name: "Batching", package: "swift-batching"),
        "MallocAccount",
      ]
    ),
    // What malloc says of itself, which needs C.
    .target(name: "MallocAccount"),
    // Clients for the program itself.
    .executableTarget(name: "Load", dependencies: ["LoadSupport"]),
    // The program before and behind a log.
    .executableTarget(name: "LoadLog", dependencies: ["LoadSupport"]),
    // Commands and ports, for both.
    .target(name: "LoadSupport"),
    // What larger loads would take, by what LoadLog has measured.
    .executableTarget(name: "Capacity"),
    // What `scripts/hot-path.sh` counts.
    .executableTarget(
      name: "HotPath",
      dependencies: [.product(name: "Batching", package: "swift-batching")]
    ),
    // An aggregator that adapts to a simulated backend.
    .executableTarget(
      name: "Adaptive",
      dependencies: [.product(name: "Batching", package: "swift-batching")]
    ),
    // Random load for as long as one likes, to see that memory stays flat and the books balance.
    .executableTarget(
      name: "Soak",
      dependencies: [
        .product(name: "Batching", package: "swift-batching"),
        .product(name: "BatchingTesting", package: "swift-batching"),
      ]
    ),
  ],
  swiftLanguageModes: [.v6]
)

for target in package.targets where target.name != "MallocAccount" {
  target.swiftSettings = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  ]
}

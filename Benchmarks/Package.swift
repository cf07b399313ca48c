// swift-tools-version: 6.2
import PackageDescription

// A package of its own: users of the library never resolve what only the benchmarks need.
let package = Package(
  name: "batching-benchmarks",
  platforms: [.macOS(.v26)],
  dependencies: [.package(name: "swift-batching", path: "..")],
  targets: [
    .executableTarget(
      name: "HandOver",
      dependencies: [.product(name: "Batching", package: "swift-batching")],
      swiftSettings: [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
      ]
    )
  ],
  swiftLanguageModes: [.v6]
)

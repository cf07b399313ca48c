// swift-tools-version: 6.2
import PackageDescription

// What reads bodies, and nothing else of the program, so that it is compiled in seconds for a fuzzer. The files are those of the
// program: links to them. See scripts/fuzz.sh.
let package = Package(
  name: "fuzzing",
  platforms: [.macOS(.v26)],
  targets: [
    .executableTarget(name: "BodyFuzzer", dependencies: ["AggregatorStorage", "CZlib"]),
    .target(name: "AggregatorStorage"),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib"),
  ],
  swiftLanguageModes: [.v6]
)

for target in package.targets where target.type != .system {
  target.swiftSettings = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
  ]
}

import Foundation

/// On what it was measured.
struct Machine {
  let lines: [String]

  init(peers: [String]) {
    let information = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let model =
      information.split(separator: "\n").first { $0.hasPrefix("model name") }
      .flatMap { $0.split(separator: ":").last } ?? "?"
    let system = (try? String(contentsOfFile: "/etc/os-release", encoding: .utf8)) ?? ""
    let name = system.split(separator: "\n").first { $0.hasPrefix("PRETTY_NAME=") }?.split(separator: "\"").last ?? "?"
    let resolved = (try? String(contentsOfFile: "Benchmarks/Package.resolved", encoding: .utf8)) ?? ""
    lines =
      [
        "\(model.trimmingCharacters(in: .whitespaces)), \(ProcessInfo.processInfo.activeProcessorCount) cores, \(name)",
        Self.output("swift --version 2>&1 | grep -o 'Swift version [0-9.]*'"),
        "swift-async-algorithms \(Self.version(of: "swift-async-algorithms", in: resolved))",
        Self.output("go version"),
        Self.output("java -version 2>&1 | head -n 1"),
        Self.output("dpkg-query -W -f 'Disruptor ${Version}' libdisruptor-java"),
        "commit \(Self.output("git rev-parse --short HEAD")), \(Self.output("date -u +%F"))",
      ].filter { !$0.isEmpty } + peers
  }

  private static func version(of package: String, in resolved: String) -> String {
    guard let start = resolved.range(of: "\"\(package)\""),
      let version = resolved[start.upperBound...].firstMatch(of: /"version" : "([^"]*)"/)
    else { return "?" }
    return String(version.1)
  }

  private static func output(_ command: String) -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = ["-c", command]
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return "" }
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }
}

import Foundation

/// A real file system that is small enough to be filled.
///
/// Only root can mount one: tests that need it are skipped elsewhere, and say so.
package final class SmallDisk: Sendable {
  package static let isPossible: Bool = {
    guard getuid() == 0, let folder = try? TemporaryFolder() else { return false }
    guard (try? mount(folder.path, mebibytes: 1)) != nil else { return false }
    return (try? unmount(folder.path)) != nil
  }()

  /// Mounts one for as long as `body` takes, which gets its path.
  package static func use(mebibytes: Int = 1, _ body: (SmallDisk) async throws -> Void) async throws {
    let folder = try TemporaryFolder()
    try mount(folder.path, mebibytes: mebibytes)
    do {
      try await body(SmallDisk(folder.path))
    } catch {
      try? unmount(folder.path)
      throw error
    }
    try unmount(folder.path)
  }

  package let path: String

  private init(_ path: String) {
    self.path = path
  }

  package func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Takes all room that is left, to the last byte.
  package func fill() throws {
    let path = file("filler")
    try Data().write(to: URL(fileURLWithPath: path))
    let filler = FileHandle(forWritingAtPath: path)
    for size in [1 << 20, 1 << 12, 1] {
      // What fits of the last write is written.
      while (try? filler?.write(contentsOf: Data(count: size))) != nil {}
    }
    try filler?.close()
  }

  /// Gives back what ``fill()`` has taken.
  package func makeRoom() throws {
    try FileManager.default.removeItem(atPath: file("filler"))
  }

  private static func mount(_ path: String, mebibytes: Int) throws {
    try run("/bin/mount", "-t", "tmpfs", "-o", "size=\(mebibytes)m", "tmpfs", path)
  }

  private static func unmount(_ path: String) throws {
    // Lazily: a descriptor of it may be let go a moment later.
    try run("/bin/umount", "--lazy", path)
  }

  private static func run(_ path: String, _ arguments: String...) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw CommandFailure(description: "\(path) ended with \(process.terminationStatus)")
    }
  }
}

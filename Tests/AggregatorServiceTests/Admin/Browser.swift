import AggregatorTestSupport
import Foundation
import HTTPTypes
import Synchronization
import Testing

/// A real Chromium without a window, driven over WebDriver (W3C) through `chromedriver`.
final class Browser: Sendable {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private let driver: Process
  private let folder: TemporaryFolder
  private let port: Int
  private let session: String

  /// Starts both, and ends them when `body` is done.
  static func use(_ body: (Browser) async throws -> Void) async throws {
    let browser = try await Browser()
    do {
      try await body(browser)
    } catch {
      try? await browser.quit()
      throw error
    }
    try await browser.quit()
  }

  private init() async throws {
    guard
      let path = ["/usr/bin/chromedriver", "/usr/local/bin/chromedriver"].first(where: FileManager.default.fileExists)
    else { throw Failure(description: "there is no chromedriver: run `make test-tools`") }
    let folder = try TemporaryFolder()
    let output = URL(fileURLWithPath: folder.file("output"))
    try Data().write(to: output)
    let driver = Process()
    driver.executableURL = URL(fileURLWithPath: path)
    driver.arguments = ["--port=0"]
    driver.environment = ProcessInfo.processInfo.environment.merging(["TZ": "UTC"]) { $1 }
    driver.standardOutput = try FileHandle(forWritingTo: output)
    driver.standardError = FileHandle.nullDevice
    try driver.run()
    var found: Int?
    do {
      try await eventually("chromedriver listens") {
        found = try String(contentsOf: output, encoding: .utf8).firstMatch(of: /successfully on port (\d+)/)
          .flatMap { Int($0.1) }
        return found != nil
      }
      let port = try #require(found)
      // Chromium refuses its sandbox to root, which is who runs tests in a container.
      let arguments = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
      ]
      let capabilities: [String: Any] = [
        "goog:loggingPrefs": ["browser": "ALL"], "goog:chromeOptions": ["args": arguments],
      ]
      let made = try await Self.call(
        port, .post, "/session", ["capabilities": ["alwaysMatch": capabilities]])
      session = try #require((made as? [String: Any])?["sessionId"] as? String)
      self.port = port
    } catch {
      kill(driver.processIdentifier, SIGKILL)
      throw error
    }
    self.driver = driver
    self.folder = folder
  }

  private func quit() async throws {
    // It has inherited a mask that blocks SIGTERM. The browser itself ends with its session.
    defer { kill(driver.processIdentifier, SIGKILL) }
    _ = try await call(.delete, "")
  }

  func open(_ address: String) async throws {
    _ = try await call(.post, "/url", ["url": address])
  }

  /// What a script returns: a string, number, array or dictionary of JSON.
  func run(_ script: String) async throws -> Any? {
    try await call(.post, "/execute/sync", ["script": script, "args": [String]()])
  }

  func text(_ id: String) async throws -> String {
    try await run("return document.getElementById('\(id)').textContent") as? String ?? ""
  }

  /// Presses keys one after the other, wherever the focus is.
  func press(_ keys: [Key]) async throws {
    let actions = keys.flatMap { key in
      ["keyDown", "keyUp"].map { ["type": $0, "value": key.rawValue] }
    }
    _ = try await call(
      .post, "/actions", ["actions": [["type": "key", "id": "keyboard", "actions": actions] as [String: Any]]])
  }

  enum Key: String { case tab = "\u{E004}", right = "\u{E014}", left = "\u{E012}", enter = "\u{E007}", space = " " }

  func resize(width: Int, height: Int) async throws {
    try await command(
      "Emulation.setDeviceMetricsOverride",
      ["width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600])
  }

  func prefer(_ features: [String: String]) async throws {
    try await command(
      "Emulation.setEmulatedMedia",
      ["features": features.map { ["name": $0.key, "value": $0.value] }])
  }

  /// What the console has said since it was asked last: warnings, errors, and what could not be loaded.
  func console() async throws -> [String] {
    let entries = try await call(.post, "/se/log", ["type": "browser"]) as? [[String: Any]] ?? []
    return entries.compactMap { $0["message"] as? String }
  }

  /// Whether pictures are wanted: `PAGE_SCREENSHOTS` names a folder.
  static let keepsPictures = ProcessInfo.processInfo.environment["PAGE_SCREENSHOTS"] != nil

  /// A picture of what is to be seen, as PNG; put into the folder that `PAGE_SCREENSHOTS` names, if it does.
  func keepPicture(_ name: String) async throws {
    guard let folder = ProcessInfo.processInfo.environment["PAGE_SCREENSHOTS"] else { return }
    let encoded = try await call(.get, "/screenshot") as? String ?? ""
    let data = try #require(Data(base64Encoded: encoded))
    try data.write(to: URL(fileURLWithPath: folder).appendingPathComponent("\(name).png"))
  }

  private func command(_ name: String, _ parameters: [String: Any]) async throws {
    _ = try await call(.post, "/goog/cdp/execute", ["cmd": name, "params": parameters])
  }

  private func call(_ method: HTTPRequest.Method, _ path: String, _ body: [String: Any]? = nil) async throws -> Any? {
    try await Self.call(port, method, "/session/\(session)\(path)", body)
  }

  private static func call(
    _ port: Int, _ method: HTTPRequest.Method, _ path: String, _ body: [String: Any]? = nil
  ) async throws -> Any? {
    let text = try body.map { String(decoding: try JSONSerialization.data(withJSONObject: $0), as: UTF8.self) }
    let reply = try await ask(port, path, method, [.contentType: "application/json"], body: text)
    let answer = try JSONSerialization.jsonObject(with: Data(reply.body.utf8)) as? [String: Any]
    guard reply.status == 200 else {
      throw Failure(description: "\(path): \(reply.status) \(reply.body.prefix(500))")
    }
    return answer?["value"]
  }
}

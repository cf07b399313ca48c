import Foundation

/// What a client prefers (the `Prefer` field, RFC 7240).
struct Preference: Equatable {
  /// It does not want to wait for the commit: `respond-async`.
  var respondsAsync = false
  /// How long it wants to wait at most: `wait=SECONDS`.
  var wait: Duration?

  /// Reads the field; what is not known, or makes no sense, is passed over, as the RFC has it.
  init(_ field: String?) {
    guard let field else { return }
    for preference in field.split(separator: ",") {
      let parts = preference.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1)
      guard let name = parts.first?.trimmingCharacters(in: .whitespaces).lowercased() else { continue }
      switch name {
      case "respond-async": respondsAsync = true
      case "wait" where parts.count == 2:
        let value = parts[1].trimmingCharacters(in: CharacterSet(charactersIn: " \""))
        if let seconds = Int(value), (0...86_400).contains(seconds) { wait = .seconds(seconds) }
      default: break
      }
    }
  }
}

package import AggregatorStorage
import Foundation
import Synchronization

/// The tokens that are in force; others can take their place while requests come.
package final class TokenStore: Authorizing {
  /// `nil` where everybody may send.
  private let current: Mutex<Tokens?>

  /// Reads the file at `path`, which blocks; with `nil` everybody may send.
  package init(path: String?) throws(ProgramError) {
    current = Mutex(try Self.read(path))
  }

  /// What a request with this `Authorization` field may do.
  package func authorize(_ field: String?, for stream: StreamName) -> Authorization {
    guard let tokens = current.withLock({ $0 }) else { return .allowed(name: nil) }
    return tokens.authorize(field, for: stream)
  }

  /// The tokens' names; `nil` where everybody may send.
  package var names: [String]? { current.withLock { $0?.names } }

  /// Reads the file again, or another one, which blocks; on an error the tokens stay as they were.
  package func reload(path: String?) throws(ProgramError) {
    replace(try Self.read(path))
  }

  /// Puts others in force.
  func replace(_ tokens: Tokens?) {
    current.withLock { $0 = tokens }
  }

  static func read(_ path: String?) throws(ProgramError) -> Tokens? {
    guard let path else { return nil }
    return try Tokens(path: path)
  }

  /// What an operator should know of the file, although it can be used; `nil` for nothing.
  package static func warning(path: String) -> String? {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    guard let mode = attributes?[.posixPermissions] as? Int, mode & 0o022 != 0 else { return nil }
    return "the file of tokens '\(path)' can be written to by others than its owner, who can let anybody in: chmod go-w"
  }
}

import Batching
import PostgresClient

extension PostgresSink {
  /// Whether the same messages may be stored later: it is no fault of theirs.
  func mayPass(_ error: PostgresError) -> Bool {
    // While it runs, everything that is wrong with connecting may be put right by the operator.
    guard let state = error.state, !error.isOfConnecting else { return true }
    // Beside what the library knows to pass: a user, database or schema that is gone (28, 3D, 3F), a server that has become a
    // standby or whose transactions are out of time (25), objects in use (55), and a permission that was taken away.
    return MessageError.sqlState(state).isRetryable || state == "42501"
      || ["25", "28", "3D", "3F", "55"].contains { state.hasPrefix($0) }
  }

  /// Whether the server cannot be used now, and may be later without anybody changing what it was started with.
  func isDown(_ error: PostgresError) -> Bool {
    guard let state = error.state else { return !error.isMisconfigured }
    return MessageError.sqlState(state).isRetryable || state == "25006"
  }

  /// What happened, and what to do about it.
  func words(_ error: PostgresError) -> String {
    guard let state = error.state else { return error.description }
    let advice =
      switch state {
      case "42501": "; grant this user INSERT and SELECT on the table, or CREATE on the schema if there is no table"
      case "28P01", "28000": "; see to user and password in the URI, in PGPASSWORD or in the password file"
      case "3D000": "; make it, or name another one in the URI"
      case "53100": "; make room on the server's disk"
      case "53300": "; let the server have more connections (max_connections), or use fewer here"
      case "57014": "; it took too long, as behind a lock that another program holds"
      default: ""
      }
    return "\(error.description) (SQLSTATE \(state))\(advice)"
  }
}

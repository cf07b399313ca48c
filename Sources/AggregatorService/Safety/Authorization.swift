import AggregatorStorage

/// Who may send what.
protocol Authorizing: Sendable {
  /// Looks at an `Authorization` field.
  func authorize(_ field: String?, for stream: StreamName) -> Authorization
}

/// What an `Authorization` field is good for.
package enum Authorization: Sendable, Hashable {
  /// The request may send to the stream; the name is the token's, `nil` where everybody may send.
  case allowed(name: String?)
  /// There is no token, or one that is not known: 401.
  case unknown
  /// The token is known, and not for this stream: 403.
  case forbidden
}

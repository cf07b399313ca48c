/// Whether it makes sense to send messages now: what `/readyz` answers.
package enum Readiness: Sendable, Hashable {
  case ready
  /// Why not, in one line, such as `draining: it is about to end`.
  case notReady(String)
}

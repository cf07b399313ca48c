import AggregatorTestSupport
import Foundation
import Testing

/// Runs a program under eight clients that repeat until they are acknowledged, disturbs it, and sees that it goes on without a restart.
///
/// - Parameters:
///   - program: Not started yet; it has ended when this returns.
///   - statuses: All that a client may be answered, whatever happens.
///   - prefersAsync: Whether clients are content when the journal has their messages.
///   - disturb: Gets the clients; what it breaks it mends.
/// - Returns: What the clients were told.
/// - Throws: ``NotInTime`` when it does not go on; ``ClientError`` when a client is told something that it should not be.
func underLoad(
  _ program: RestartableProgram, statuses: Set<UInt>, prefersAsync: Bool = false,
  disturb: (Clients) async throws -> Void
) async throws -> Clients.Acknowledged {
  let clients = Clients(port: program.port, prefersAsync: prefersAsync)
  try await program.start()
  let sending = Task { try await clients.run(8) }
  do {
    try await eventually("there is load") { clients.result.identities.count > 20 }
    try await disturb(clients)
    let before = clients.result.identities.count
    try await eventually("it goes on, without a restart", within: .seconds(60)) {
      clients.result.identities.count > before + 20
    }
  } catch {
    sending.cancel()
    throw error
  }
  clients.stop()
  try await sending.value
  program.kill(SIGTERM)
  #expect(try await program.end() == 0, "\(program.errors)")
  let result = clients.result
  #expect(Set(result.statuses.keys).isSubset(of: statuses), "\(result.statuses)")
  #expect(result.slowest < .seconds(15), "an answer took \(result.slowest)")
  print("outage: \(result.identities.count) acknowledged, statuses \(result.statuses), slowest \(result.slowest)")
  return result
}

/// Sees that each message that was acknowledged is stored, and nothing twice.
func expectOnce(_ acknowledged: [String], in stored: [String]) {
  let missing = Set(acknowledged).subtracting(stored)
  #expect(missing == [], "\(missing.count) of \(acknowledged.count) are missing")
  #expect(Set(stored).count == stored.count, "\(stored.count - Set(stored).count) are stored twice")
}

package import AggregatorStorage
import Foundation
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle

/// The HTTP server and the aggregator behind it, in the order in which they have to stop: first the server, so that every
/// request that it has taken gets its answer, then the aggregator.
struct HTTPSource {
  let host: String
  let port: Int
  let options: ProgramOptions
  let intake: RequestIntake
  let logger: Logger
  /// Called with the port once the server listens.
  let onListening: @Sendable (Int) -> Void

  /// The whole, which is a service too.
  func application() -> some ApplicationProtocol {
    let maximumBody = options.maximumBody
    let onListening = onListening
    return Application(
      responder: MessagesResponder(intake: intake, maximumBody: maximumBody),
      server: .http1(
        configuration: .init(
          additionalChannelHandlers: [ConnectionHandler()], idleTimeout: .seconds(60))),
      configuration: ApplicationConfiguration(address: .hostname(host, port: port)),
      services: [IntakeService(intake: intake)],
      onServerRunning: { channel in onListening(channel.localAddress?.port ?? 0) },
      logger: logger
    )
  }

  private struct IntakeService: Service {
    let intake: RequestIntake

    func run() async throws { try await intake.run() }
  }

  /// Says in words why the server could not be started.
  static func explain(_ error: any Error, host: String, port: Int) -> ProgramError {
    if let error = error as? IOError {
      switch error.errnoCode {
      case EADDRINUSE:
        return ProgramError(
          "cannot listen on \(host):\(port): another program does; stop it, or give another port with --from")
      case EACCES:
        return ProgramError(
          "cannot listen on \(host):\(port): no permission; ports below 1024 are for root, so give a higher one with --from"
        )
      case EADDRNOTAVAIL:
        return ProgramError(
          "cannot listen on \(host):\(port): this machine has no such address; give one of its own, 127.0.0.1 or 0.0.0.0"
        )
      default: break
      }
    }
    return ProgramError("cannot listen on \(host):\(port): \(error)")
  }
}

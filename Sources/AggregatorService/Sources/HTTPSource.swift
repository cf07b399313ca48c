import AggregatorStorage
import Foundation
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle

/// The HTTP server for clients.
///
/// It has to stop before what stores their messages, so that every request that it has taken gets its answer.
struct HTTPSource {
  let host: String
  let port: Int
  let options: ProgramOptions
  let intake: Intake
  let tokens: any Authorizing
  let connections: ConnectionCount
  let logger: Logger
  /// Called with the port once the server listens.
  let onListening: @Sendable (Int) -> Void

  /// The server, which is a service.
  ///
  /// - Throws: ``ProgramError`` when the certificate or its key cannot be used.
  func application() throws(ProgramError) -> some ApplicationProtocol {
    let onListening = onListening
    return Application(
      responder: MessagesResponder(intake: intake, options: options, tokens: tokens),
      server: try server(),
      configuration: ApplicationConfiguration(address: .hostname(host, port: port), backlog: 4_096),
      onServerRunning: { channel in onListening(channel.localAddress?.port ?? 0) },
      logger: logger
    )
  }

  private func server() throws(ProgramError) -> HTTPServerBuilder {
    let limits = ConnectionLimits(
      connections: options.maximumConnections, header: options.headerTimeout.timeAmount,
      body: options.bodyTimeout.timeAmount, part: options.maximumBody)
    let connections = connections
    let http = HTTPServerBuilder.http1(
      configuration: .init(
        additionalChannelHandlers: [ConnectionHandler(limits: limits, count: connections)],
        idleTimeout: .seconds(60)))
    guard let certificate = options.certificate, let key = options.privateKey else { return http }
    do {
      var configuration = TLSConfiguration.makeServerConfiguration(
        certificateChain: try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
      configuration.minimumTLSVersion = .tlsv12
      return try .tls(http, tlsConfiguration: configuration)
    } catch {
      throw ProgramError(
        "the certificate '\(certificate)' (--tls-certificate) or its key '\(key)' (--tls-key) cannot be used: \(error); "
          + "give PEM files that this user may read")
    }
  }

  /// Says in words why the server could not be started.
  static func explain(_ error: any Error, host: String, port: Int, option: String = "--from") -> ProgramError {
    if let error = error as? ProgramError { return error }
    if let error = error as? IOError {
      switch error.errnoCode {
      case EADDRINUSE:
        return ProgramError(
          "cannot listen on \(host):\(port): another program does; stop it, or give another port with \(option)")
      case EACCES:
        return ProgramError(
          "cannot listen on \(host):\(port): no permission; ports below 1024 are for root, so give a higher one with \(option)"
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

extension Duration {
  /// The same for event loops.
  var timeAmount: TimeAmount {
    .nanoseconds(components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000)
  }
}

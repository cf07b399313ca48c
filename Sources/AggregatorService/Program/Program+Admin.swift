import ServiceLifecycle

extension Program {
  /// The server for operators; `nil` when none is wanted.
  func adminService(
    _ outlook: Outlook, meters: Meters, flush: @escaping @Sendable () async throws -> Void
  ) -> (any Service)? {
    guard let admin = options.admin, let host = admin.host, let port = admin.port else { return nil }
    let server = AdminServer(
      host: host, port: port,
      feeds: AdminServer.Feeds(
        meters: meters, metrics: metrics, program: { await outlook.program() },
        readiness: { await outlook.readiness() }, flush: flush),
      logger: logger
    ) { port in
      console.say("aggregator: to be watched at \(admin.withPort(port))/")
    }
    return AdminService(server: server, host: host, port: port)
  }
}

/// Says in words why the admin server could not be started.
private struct AdminService: Service {
  let server: AdminServer
  let host: String
  let port: Int

  func run() async throws {
    do {
      try await server.run()
    } catch {
      throw HTTPSource.explain(error, host: host, port: port, option: "--admin")
    }
  }
}

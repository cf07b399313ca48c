import ServiceLifecycle

/// What stores messages, as a service: it ends after those who bring them, and before those who look on.
struct StoringService: Service {
  let storing: any Storing

  func run() async throws { try await storing.run() }
}

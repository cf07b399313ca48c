import AggregatorStorage
import AggregatorTestSupport
import Foundation
import Logging
import Testing

@testable import NATSLog

@Suite("Encryption")
struct EncryptionTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  /// Makes a certificate that is its own authority.
  private func certificate(of names: String) async throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
    process.arguments = [
      "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext",
      "subjectAltName=\(names)", "-keyout", folder.file("key.pem"), "-out", folder.file("cert.pem"),
    ]
    process.standardError = FileHandle.nullDevice
    try process.run()
    try await eventually("there is a certificate") { !process.isRunning }
    #expect(process.terminationStatus == 0)
  }

  private func cluster() async throws -> NATSCluster {
    try await NATSCluster(
      1, more: ["--tls", "--tlscert", folder.file("cert.pem"), "--tlskey", folder.file("key.pem")])
  }

  @Test func `a server that an authority vouches for is taken, and no other`() async throws {
    try await certificate(of: "IP:127.0.0.1")
    let cluster = try await cluster()
    let sink = try JetStreamSink(cluster.address("/EVENTS?tls_ca=\(folder.file("cert.pem"))"), logger: quiet)
    try await ready(sink)
    try await sink.write(numbered(0..<10), to: .messages)
    try await sink.close()
    let stranger = try JetStreamSink(cluster.address("/EVENTS?tls=true"), logger: quiet)
    await #expect(throws: SinkError.self) { try await stranger.write(numbered(0..<10), to: .messages) }
    try await stranger.close()
  }

  @Test func `a certificate of another host is refused`() async throws {
    try await certificate(of: "DNS:other.example,IP:127.0.0.9")
    let cluster = try await cluster()
    try await eventually("the server listens") { cluster.servers[0].log.contains("Server is ready") }
    let sink = try JetStreamSink(cluster.address("/EVENTS?tls_ca=\(folder.file("cert.pem"))"), logger: quiet)
    let error = await #expect(throws: SinkError.self) { try await sink.write(numbered(0..<10), to: .messages) }
    #expect(error?.isRetryable == true)
    try await sink.close()
  }
}

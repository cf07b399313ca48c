package import AggregatorStorage
package import NIOSSL

/// The files for `https`.
package enum TLSFiles {
  /// Reads certificate and key, which blocks, and checks that they belong together.
  ///
  /// - Throws: ``ProgramError`` that says which file is wrong.
  package static func configuration(certificate: String, key: String) throws(ProgramError) -> TLSConfiguration {
    let chain: [NIOSSLCertificate]
    do { chain = try NIOSSLCertificate.fromPEMFile(certificate) } catch {
      throw ProgramError("--tls-certificate: '\(certificate)' is no PEM file with certificates: \(error)")
    }
    guard !chain.isEmpty else { throw ProgramError("--tls-certificate: '\(certificate)' has no certificate in it") }
    let secret: NIOSSLPrivateKey
    do { secret = try NIOSSLPrivateKey(file: key, format: .pem) } catch {
      throw ProgramError("--tls-key: '\(key)' is no PEM file with a private key without a passphrase: \(error)")
    }
    let configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(secret))
    do { _ = try NIOSSLContext(configuration: configuration) } catch {
      throw ProgramError("--tls-key: '\(key)' does not belong to the certificate in '\(certificate)': \(error)")
    }
    return configuration
  }
}

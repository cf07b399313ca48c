import Batching
import CNATS

/// What a server of NATS, or its client library, says of a failure.
struct NATSError: RetryAdvising, CustomStringConvertible {
  /// In words; no secrets and no message.
  let description: String
  let status: natsStatus
  /// The code of JetStream; `nil` when it was not JetStream that failed.
  let code: UInt32?

  var retryAfter: Duration? { nil }

  init(_ what: String, _ status: natsStatus, code: jsErrCode = jsErrCode(0), text: String? = nil) {
    let number = UInt32(code.rawValue)
    self.status = status
    self.code = number == 0 ? nil : number
    let said = text ?? natsStatus_GetText(status).map { String(cString: $0) } ?? "error"
    description = "\(what): \(said)\(number == 0 ? "" : " (JetStream \(number))")"
  }

  /// Whether the same thing may work later.
  ///
  /// What is about the message will not; all else is the state of the cluster.
  var isRetryable: Bool {
    !(status == NATS_MAX_PAYLOAD || status == NATS_INVALID_SUBJECT || code == Code.messageTooLarge)
  }

  /// Whether there is no such thing, as far as a server with a say in it knows.
  var isNotFound: Bool {
    status == NATS_NOT_FOUND || code == Code.streamNotFound || code == Code.consumerNotFound
  }

  private enum Code {
    static let consumerNotFound: UInt32 = 10_014
    static let messageTooLarge: UInt32 = 10_054
    static let streamNotFound: UInt32 = 10_059
  }
}

/// Throws unless a call has worked.
func check(_ what: String, _ status: natsStatus, code: jsErrCode = jsErrCode(0)) throws(NATSError) {
  if let error = failure(what, status, code: code) { throw error }
}

/// Why a call has not worked; `nil` when it has.
func failure(_ what: String, _ status: natsStatus, code: jsErrCode = jsErrCode(0)) -> NATSError? {
  guard status != NATS_OK else { return nil }
  // The library keeps words for each thread, of the call that failed last.
  let text = nats_GetLastError(nil).map { String(cString: $0) }
  return NATSError(what, status, code: code, text: text?.isEmpty == false ? text : nil)
}

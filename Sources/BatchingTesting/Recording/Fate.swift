import Batching

/// What became of a message.
public enum Fate: Sendable, Equatable, CustomStringConvertible {
  /// Its handler call returned.
  case handled
  /// It was given up, for this reason.
  case failed(any Error)
  /// A newer message pushed it out.
  case dropped

  /// Whether both are the same; errors are when they are of one type and say the same.
  public static func == (left: Fate, right: Fate) -> Bool {
    switch (left, right) {
    case (.handled, .handled), (.dropped, .dropped): true
    case (.failed(let left), .failed(let right)): left.isSame(as: right)
    default: false
    }
  }

  /// One word, and the error.
  public var description: String {
    switch self {
    case .handled: "handled"
    case .failed(let error): "failed (\(error))"
    case .dropped: "dropped"
    }
  }
}

extension Error {
  /// Whether both are of one type and say the same; of an `AggregatorError`, whether the code is the same.
  fileprivate func isSame(as other: any Error) -> Bool {
    if let mine = self as? AggregatorError, let theirs = other as? AggregatorError { return mine == theirs }
    return type(of: self) == type(of: other) && "\(self)" == "\(other)"
  }
}

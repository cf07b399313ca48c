package import Logging
import Synchronization

/// The least level that is logged, for all loggers that were given none of their own; it can change while they are used.
package final class LogLevel: Sendable {
  private let level: Mutex<Logger.Level>

  package init(_ level: Logger.Level) {
    self.level = Mutex(level)
  }

  /// The level now.
  package var current: Logger.Level {
    get { level.withLock { $0 } }
    set { level.withLock { $0 = newValue } }
  }
}

/// A log handler whose level is that of a ``LogLevel``.
package struct AdjustableLogHandler<Base: LogHandler>: LogHandler {
  private var base: Base
  private let shared: LogLevel
  private var own: Logger.Level?

  /// Makes a handler that hands to `base` what is of `level` at least.
  package init(_ base: Base, level: LogLevel) {
    self.base = base
    self.base.logLevel = .trace
    shared = level
  }

  package var logLevel: Logger.Level {
    get { own ?? shared.current }
    set { own = newValue }
  }

  package var metadata: Logger.Metadata {
    get { base.metadata }
    set { base.metadata = newValue }
  }

  package var metadataProvider: Logger.MetadataProvider? {
    get { base.metadataProvider }
    set { base.metadataProvider = newValue }
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { base[metadataKey: key] }
    set { base[metadataKey: key] = newValue }
  }

  package func log(event: LogEvent) { base.log(event: event) }
}

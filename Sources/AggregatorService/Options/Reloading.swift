import AggregatorStorage
import Dispatch
package import Logging
import ServiceLifecycle
import UnixSignals

/// What SIGHUP does: reads the file and the tokens again, and applies what can change while the program runs.
///
/// The command line and the environment stay. When anything is wrong, all stays as it was. While it runs, SIGHUP does not end
/// the process.
package actor Reloading: Service {
  /// What came of it.
  package enum Outcome: Sendable, Hashable {
    /// Options that have changed, and options whose new value waits for a restart. The tokens are as the file has them.
    case applied([String], needingRestart: [String])
    /// All is as it was.
    case refused([String])
  }

  private let loader: OptionsLoader
  private let tokens: TokenStore
  private let logger: Logger
  private let apply: @Sendable (ProgramOptions) async throws -> Void
  /// What is in force.
  private var current: ProgramOptions

  /// Makes what can reload.
  ///
  /// - Parameters:
  ///   - loader: Reads what was asked at the start too.
  ///   - options: What is in force at the start.
  ///   - tokens: Given the new tokens once `apply` has returned.
  ///   - logger: Told what has changed, and what is wrong.
  ///   - apply: Puts new options in force; only reloadable ones differ from those before. When it throws, it must have
  ///     changed nothing.
  package init(
    loader: OptionsLoader, options: ProgramOptions, tokens: TokenStore, logger: Logger,
    apply: @escaping @Sendable (ProgramOptions) async throws -> Void
  ) {
    self.loader = loader
    self.tokens = tokens
    self.logger = logger
    self.apply = apply
    current = options
  }

  /// Reloads for each SIGHUP, until a graceful shutdown begins or the task is cancelled.
  package func run() async {
    for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() { await reload() }
  }

  /// Reads all again, and applies it or says why not; to be called by one at a time.
  @discardableResult
  package func reload() async -> Outcome {
    let loaded = await loader.load()
    guard loaded.problems.isEmpty else { return refused(loaded.problems.map(\.description)) }
    let differing = OptionCatalogue.all.filter { !$0.isSame(current, loaded.options) }
    var next = current
    for option in differing where option.isReloadable { option.copy(loaded.options, &next) }
    // What stays may not go with what changes, although the file would make sense as a whole.
    guard next.problems.isEmpty else { return refused(next.problems) }
    do {
      let fresh = try await Self.read(next.tokens)
      try await apply(next)
      tokens.replace(fresh)
    } catch {
      return refused(["\(error)"])
    }
    let before = current
    current = next
    return applied(differing, before: before, wanted: loaded.options)
  }

  /// Reads the file where it may block.
  private static func read(_ path: String?) async throws -> Tokens? {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue.global().async {
        continuation.resume(with: Result { try TokenStore.read(path) })
      }
    }
  }

  // MARK: What the log says

  private func refused(_ problems: [String]) -> Outcome {
    for problem in problems {
      logger.error("configuration not reloaded; all stays as it was", metadata: ["problem": "\(problem)"])
    }
    return .refused(problems)
  }

  private func applied(_ differing: [CatalogueOption], before: ProgramOptions, wanted: ProgramOptions) -> Outcome {
    for option in differing {
      let change: Logger.Metadata = [
        "option": "\(option.name)", "from": "\(option.show(before))", "to": "\(option.show(wanted))",
      ]
      if option.isReloadable {
        logger.notice("option changed", metadata: change)
      } else {
        logger.warning("option needs a restart to change; it stays as it was", metadata: change)
      }
    }
    let names = tokens.names.map { "\($0.count)" } ?? "none"
    logger.notice("configuration reloaded", metadata: ["tokens": "\(names)"])
    return .applied(
      differing.filter(\.isReloadable).map(\.name),
      needingRestart: differing.filter { !$0.isReloadable }.map(\.name))
  }
}

/// A handler that keeps each of its calls until the test lets it go: a batch handler or a failure handler.
///
/// ```swift
/// let handler = GatedHandler<Batch<Int>>.gated()
/// let aggregator = try Aggregator<Int>(configuration: .init(batchSize: 2)) { try await handler($0) }
/// async let running: Void = aggregator.run()
/// try await aggregator.send(contentsOf: [1, 2])
/// let call = try await handler.call(0)     // waits until it has started
/// call.fail(DatabaseIsDown())              // or succeed(); a call that is neither hangs
/// ```
public final class GatedHandler<Input: Sendable>: Sendable {
  /// What a call does when its task is cancelled while the gate holds it.
  public enum Manners: Sendable {
    /// Throws `CancellationError`, as a well-behaved handler does.
    case throwing
    /// Returns as if all were done.
    case returning
    /// Stays until the test lets it go.
    case stubborn
  }

  fileprivate struct CallState: Sendable {
    let input: Input
    let startedCancelled: Bool
    var isCancelled = false
    var hasEnded = false
    var outcome: Result<Void, any Error>?
  }

  fileprivate struct State: Sendable {
    var calls: [CallState] = []
    var isOpen: Bool
    var running = 0
    var mostRunning = 0
  }

  fileprivate let state: Watched<State>
  private let manners: Manners
  private let script: @Sendable (Input) throws -> Void

  private init(isOpen: Bool, manners: Manners, script: @escaping @Sendable (Input) throws -> Void) {
    state = Watched(State(isOpen: isOpen))
    self.manners = manners
    self.script = script
  }

  /// Each call waits for the test; once the gate is opened for all, they do as the script says.
  public static func gated(
    whenCancelled manners: Manners = .throwing, thenScript script: @escaping @Sendable (Input) throws -> Void = { _ in }
  ) -> GatedHandler {
    GatedHandler(isOpen: false, manners: manners, script: script)
  }

  /// No call waits; each does as the script says.
  public static func open(_ script: @escaping @Sendable (Input) throws -> Void = { _ in }) -> GatedHandler {
    GatedHandler(isOpen: true, manners: .throwing, script: script)
  }

  /// One call of the handler, which the code under test makes.
  ///
  /// - Throws: What the test lets it fail with, what the script throws, or `CancellationError`.
  public func callAsFunction(_ input: Input) async throws {
    let startedCancelled = Task.isCancelled
    let number = state.change {
      $0.calls.append(CallState(input: input, startedCancelled: startedCancelled))
      $0.running += 1
      $0.mostRunning = max($0.mostRunning, $0.running)
      return $0.calls.count - 1
    }
    defer {
      state.change {
        $0.running -= 1
        $0.calls[number].hasEnded = true
      }
    }
    let leavesWhenCancelled = manners != .stubborn
    await withTaskCancellationHandler {
      await state.waitIgnoringCancellation {
        let call = $0.calls[number]
        return $0.isOpen || call.outcome != nil || (leavesWhenCancelled && call.isCancelled)
      }
    } onCancel: {
      state.change { $0.calls[number].isCancelled = true }
    }
    let left = state.current
    if let outcome = left.calls[number].outcome {
      try outcome.get()
    } else if left.isOpen {
      try script(input)
    } else if manners == .throwing {
      throw CancellationError()
    }
  }

  // MARK: - What the test sees

  /// What each call was given, in the order in which they started.
  public var inputs: [Input] { state.current.calls.map(\.input) }

  /// How many calls have started.
  public var count: Int { state.current.calls.count }

  /// The most calls that ran at the same time.
  public var mostAtOnce: Int { state.current.mostRunning }

  /// How many calls run now.
  public var running: Int { state.current.running }

  /// Returns once `count` calls have started, ended or not.
  ///
  /// - Throws: `CancellationError` when the task is cancelled before.
  public func waitForCalls(count: Int) async throws {
    try await state.wait { $0.calls.count >= count }
  }

  /// Returns the call with this number, from 0, once it has started.
  ///
  /// - Throws: `CancellationError` when the task is cancelled before.
  public func call(_ number: Int) async throws -> Call {
    try await waitForCalls(count: number + 1)
    return Call(number: number, input: state.current.calls[number].input, handler: self)
  }

  /// Lets all calls go that wait, and keeps none from now on.
  public func open() {
    state.change { $0.isOpen = true }
  }

  /// One call that has started.
  public struct Call: Sendable {
    /// Its place among the calls, from 0.
    public let number: Int
    /// What it was given.
    public let input: Input
    fileprivate let handler: GatedHandler

    /// Lets it return.
    public func succeed() { end(.success(())) }

    /// Lets it throw.
    public func fail(_ error: any Error) { end(.failure(error)) }

    private func end(_ outcome: Result<Void, any Error>) {
      handler.state.change { $0.calls[number].outcome = outcome }
    }

    /// Whether the task was cancelled already when the call started.
    public var startedCancelled: Bool { handler.state.current.calls[number].startedCancelled }

    /// Whether the task was cancelled while the gate held the call.
    public var isCancelled: Bool { handler.state.current.calls[number].isCancelled }

    /// Returns once the call's task has been cancelled.
    ///
    /// - Throws: `CancellationError` when the waiting task is cancelled before.
    public func waitUntilCancelled() async throws {
      let number = number
      try await handler.state.wait { $0.calls[number].isCancelled }
    }

    /// Returns once the call has ended.
    ///
    /// - Throws: `CancellationError` when the waiting task is cancelled before.
    public func waitUntilEnded() async throws {
      let number = number
      try await handler.state.wait { $0.calls[number].hasEnded }
    }
  }
}

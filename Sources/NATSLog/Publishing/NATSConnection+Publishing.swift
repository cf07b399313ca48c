import CNATS
import Dispatch
import Synchronization

extension NATSConnection {
  /// Publishes messages one behind the other without waiting, then waits for all of their acknowledgements.
  ///
  /// - Parameters:
  ///   - messages: At least one.
  ///   - queue: Where the library is called.
  ///   - limit: How long an acknowledgement is waited for. The same time counts for other calls under way: when it is over for
  ///     one, what has been published and is not acknowledged is given up in all of them, because that is how the library
  ///     lets go of messages. Their repeat does no harm.
  /// - Returns: For each message why it failed; `nil` when it is stored. A cancellation gives up all that is under way.
  func publish(_ messages: [OutgoingMessage], on queue: BlockingQueue, within limit: Duration) async -> [NATSError?] {
    let current = CurrentCall()
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let call = PublishCall(count: messages.count, continuation)
        queue.queue.async { [self] in
          current.set(call)
          for (offset, message) in messages.enumerated() {
            // A cancellation may have come before.
            if current.isCancelled {
              call.settle(offset, NATSError("publishing", NATS_TIMEOUT, text: "cancelled"))
            } else {
              publish(message, call, offset)
            }
          }
        }
        let nanoseconds = Int(limit / .nanoseconds(1))
        queue.queue.asyncAfter(deadline: .now() + .nanoseconds(nanoseconds)) { [weak self, weak call] in
          guard let self, let call, !call.isOver else { return }
          giveUp(call, NATSError("publishing", NATS_TIMEOUT, text: "no acknowledgement within \(limit)"))
        }
      }
    } onCancel: {
      current.cancel()
      queue.queue.async { [self] in
        guard let call = current.call, !call.isOver else { return }
        giveUp(call, NATSError("publishing", NATS_TIMEOUT, text: "cancelled"))
      }
    }
  }

  private func publish(_ message: OutgoingMessage, _ call: PublishCall, _ offset: Int) {
    let pointer: OpaquePointer
    do throws(NATSError) {
      pointer = try message.make()
    } catch {
      call.settle(offset, error)
      return
    }
    // Before it is published, since its acknowledgement may come at once.
    acknowledgements.expect(pointer, call, offset)
    var handedOver: OpaquePointer? = pointer
    let status = message.id.withCString { id in
      var options = jsPubOptions()
      _ = jsPubOptions_Init(&options)
      options.MsgId = id
      return js_PublishMsgAsync(context, &handedOver, &options)
    }
    guard status != NATS_OK else {
      hasPublished.store(true, ordering: .relaxed)
      return
    }
    do throws(NATSError) {
      try check("publishing", status)
    } catch {
      acknowledgements.settle(pointer, error)
    }
    // The library takes only what it publishes.
    natsMsg_Destroy(handedOver)
  }

  /// Takes back all that is not acknowledged; then what is left of the call has its answer under way, and is not waited for.
  func giveUp(_ call: PublishCall, _ error: NATSError) {
    takeBack(error)
    acknowledgements.abandon(call, error)
  }

  /// Takes back all that is published and not acknowledged; on the queue of publishing.
  func takeBack(_ error: NATSError) {
    var list = natsMsgList(Msgs: nil, Count: 0)
    // libnats 3.4.1 crashes when it is asked before anything was published.
    guard hasPublished.load(ordering: .relaxed) else { return }
    guard js_PublishAsyncGetPendingList(&list, context) == NATS_OK else { return }
    for index in 0..<Int(list.Count) {
      if let message = list.Msgs?[index] { acknowledgements.settle(message, error) }
    }
    natsMsgList_Destroy(&list)
  }
}

/// The call that a cancellation is about, once there is one.
private final class CurrentCall: Sendable {
  private struct State {
    var call: PublishCall?
    var isCancelled = false
  }

  private let state = Mutex(State())

  func set(_ call: PublishCall) { state.withLock { $0.call = call } }
  func cancel() { state.withLock { $0.isCancelled = true } }
  var call: PublishCall? { state.withLock { $0.call } }
  var isCancelled: Bool { state.withLock { $0.isCancelled } }
}

import Tracing

extension Core {
  private enum Submission {
    case accepted
    case refused(AggregatorError)
    case waits(WaitingSend)
  }

  /// Sends a message that can be withdrawn; returns the number that it is known by.
  ///
  /// It waits for room as `send` does.
  func submit(_ message: Message) async throws -> Int {
    let weight = self.weight.map { max($0(message), 0) } ?? 0
    let context = store.currentContext
    let (submission, number) = ask { machine, effects in
      let submission: Submission
      switch machine.offered(weight: weight, now: time.now(), &effects) {
      case .accepted(let slot, _):
        store.put(message, context, into: slot)
        submission = .accepted
      case .full where overflow == .suspend:
        let parcel = withUnsafePointer(to: message) { message in
          withUnsafePointer(to: weight) {
            store.pack(UnsafeBufferPointer(start: message, count: 1), context, weights: self.weight == nil ? nil : $0)
          }
        }
        submission = .waits(WaitingSend(parcel: parcel, id: machine.senderWaits(parcel)))
      case .full: submission = .refused(.full)
      case .closed: submission = .refused(.closed)
      case .tooHeavy: submission = .refused(.tooHeavy)
      }
      if case .refused = submission { machine.sendRefused() }
      return (submission, machine.lastNumber)
    }
    switch submission {
    case .accepted:
      return number
    case .refused(let error):
      publishForSender()
      throw error
    case .waits(let waiting):
      publishForSender()
      // It may be cancelled when it has been accepted and does not know yet.
      let wake = await withTaskCancellationHandler {
        await wait(for: waiting)
      } onCancel: {
        withdraw(number)
      }
      switch wake {
      case .closed: throw AggregatorError.closed
      case .cancelled: throw CancellationError()
      default: return number
      }
    }
  }

  /// Takes a message out of its batch, unless that has started.
  func withdraw(_ number: Int) {
    // The message is destroyed here, outside the lock.
    let layout = store.layout
    let memory = UnsafeMutableRawPointer.allocate(byteCount: layout.stride, alignment: layout.alignment)
    if ask({ $0.withdrawn(number, to: memory, now: time.now(), &$1) }) { store.destroy(0..<1, of: memory) }
    memory.deallocate()
  }
}

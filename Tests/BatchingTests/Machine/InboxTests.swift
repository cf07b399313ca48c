import BatchingTesting
import Synchronization
import Testing

@testable import Batching

@Suite("Inbox: batches without the lock")
struct InboxTests {
  /// A machine with a slot that attends to its inbox.
  private final class Desk {
    var machine: Machine<String>
    var effects = Effects<String>()
    private(set) var reader: InboxReader?
    private var next = 0
    /// What the slot has started and not ended.
    private(set) var current: TakenBatch?

    init(batchSize: Int = 1, capacity: Int = 100) {
      var settings = MachineSettings()
      settings.batchSize = batchSize
      settings.capacity = capacity
      settings.hasInbox = true
      machine = Machine(settings: settings, layout: MessageLayout(of: Int.self))
      _ = machine.runBegan(now: .zero)
      reader = machine.slotAttends(with: nil)
    }

    deinit {
      current?.segment.free()
      comes()
      while let batch = machine.takeDue() { batch.segment.free() }
      machine.open?.segment.free()
      machine.free()
    }

    /// Sends messages, one after the other.
    func send(_ count: Int = 1, postsEach: Bool = true) {
      for _ in 0..<count {
        guard case .accepted(let slot, _) = machine.offered(now: .zero, &effects) else {
          Issue.record("no room")
          return
        }
        slot.initializeMemory(as: Int.self, to: next)
        next += 1
        if postsEach { machine.post() }
      }
    }

    /// The first message of what it starts, or what else it does.
    @discardableResult
    func look() -> String { follow(reader?.look()) }

    @discardableResult
    func end() -> String {
      current = nil
      return follow(reader?.batchEnded())
    }

    /// The slot is at the lock.
    func comes() {
      machine.slotComes(now: .zero, &effects)
      reader = nil
    }

    func attends() { reader = machine.slotAttends(with: nil) }

    private func follow(_ order: InboxReader.Order?) -> String {
      switch order {
      case .start(let batch):
        current = batch
        return "starts \(batch.segment.base.load(as: Int.self)), list \(batch.sequenceNumber)"
      case .wait: return "waits"
      case .come: return "comes"
      case nil: return "is not there"
      }
    }
  }

  @Test func `a slot goes from one batch to the next, and the ledger knows it when it is asked`() {
    let desk = Desk()
    #expect(desk.look() == "waits")
    desk.send(2)
    #expect(desk.machine.statistics().inFlight == 0)
    #expect(desk.look() == "starts 0, list 1")
    #expect(desk.machine.statistics().inFlight == 1)
    #expect(desk.end() == "starts 1, list 2")
    #expect(desk.end() == "waits")
    let statistics = desk.machine.statistics()
    #expect(statistics.handled == 2)
    #expect(statistics.held == 0)
    #expect(statistics.inFlight == 0)
    #expect(statistics.batches[.size] == 2)
  }

  @Test func `what has not started goes to another slot that looks for it, and the rest stays`() {
    let desk = Desk()
    desk.send(3)
    #expect(desk.look() == "starts 0, list 1")
    guard case .take(let taken) = desk.machine.workerLooks(wasWoken: false) else {
      Issue.record("nothing was taken")
      return
    }
    desk.machine.post()
    #expect(taken.segment.base.load(as: Int.self) == 1)
    #expect(taken.sequenceNumber == 2)
    #expect(desk.end() == "starts 2, list 3")
    desk.machine.segmentEmptied(taken.segment)
  }

  @Test func `a number that is given in between is no batch's`() {
    let desk = Desk()
    desk.send(2)
    #expect(desk.look() == "starts 0, list 1")
    #expect(desk.machine.listMade() == 2)
    desk.machine.post()
    #expect(desk.end() == "starts 1, list 3")
  }

  @Test func `more batches than there are places wait until the slot comes for them`() {
    let desk = Desk()
    desk.send(InboxMemory.places + 3)
    #expect(desk.look() == "starts 0, list 1")
    for number in 1..<InboxMemory.places { #expect(desk.end() == "starts \(number), list \(number + 1)") }
    #expect(desk.end() == "comes")
    desk.comes()
    #expect(desk.machine.statistics().handled == InboxMemory.places)
    desk.attends()
    desk.machine.post()
    #expect(desk.look() == "starts \(InboxMemory.places), list \(InboxMemory.places + 1)")
  }

  @Test func `numbers wrap around and nothing is lost`() {
    let desk = Desk()
    let count = 3 * Int(UInt16.max)
    desk.send()
    #expect(desk.look() == "starts 0, list 1")
    var wrong = 0
    for number in 1..<count {
      desk.send()
      if desk.end() != "starts \(number), list \(number + 1)" { wrong += 1 }
    }
    #expect(wrong == 0)
    #expect(desk.machine.statistics().handled == count - 1)
  }

  @Test func `a sender that waits for room has the slot come as soon as its batch has ended`() {
    let desk = Desk(capacity: 2)
    desk.send(2)
    #expect(desk.look() == "starts 0, list 1")
    guard case .full = desk.machine.offered(now: .zero, &desk.effects) else {
      Issue.record("there is room")
      return
    }
    let message = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    defer { message.deallocate() }
    message.initialize(to: 2)
    let id = desk.machine.senderWaits(Parcel(base: UnsafeMutableRawPointer(message), count: 1, weights: nil))
    #expect(desk.machine.senderAttached(id, "sender") == nil)
    desk.machine.post()
    // Not the next batch: its room is wanted.
    #expect(desk.end() == "comes")
    desk.comes()
    #expect(desk.effects.first?.waiter == "sender")
    #expect(desk.machine.senders.isEmpty)
  }

  @Test func `others hear of what is more than the idle slot takes`() {
    let desk = Desk()
    desk.send(postsEach: false)
    var takesAll = desk.machine.post()
    #expect(takesAll)
    #expect(desk.look() == "starts 0, list 1")
    #expect(desk.end() == "waits")
    desk.send(2, postsEach: false)
    takesAll = desk.machine.post()
    #expect(!takesAll)
    desk.look()
    desk.send(postsEach: false)
    takesAll = desk.machine.post()
    #expect(!takesAll)
  }

  @Test func `room that has come without the lock is seen by who finds none`() {
    let desk = Desk(capacity: 1)
    desk.send()
    #expect(desk.look() == "starts 0, list 1")
    #expect(desk.end() == "waits")
    desk.send()
    #expect(desk.look() == "starts 1, list 2")
  }

  @Test func `a flush has an idle slot come, and does not wait for what has ended`() throws {
    let desk = Desk(batchSize: 2)
    desk.send(2)
    #expect(desk.look() == "starts 0, list 1")
    let asked = desk.machine.flushAsked(&desk.effects)
    let id = try #require(asked)
    #expect(desk.machine.flusherWaits(id, "flusher") == nil)
    #expect(desk.end() == "comes")
    desk.comes()
    #expect(desk.effects.first?.waiter == "flusher")
    desk.attends()
    desk.send(2)
    desk.look()
    desk.end()
    #expect(desk.machine.flushAsked(&desk.effects) == nil)
  }

  @Test func `the open batch grows until the slot comes for it`() {
    let desk = Desk(batchSize: 3)
    desk.send()
    #expect(desk.look() == "waits")
    desk.machine.timerFired(now: .milliseconds(10), &desk.effects)
    desk.machine.post()
    desk.send()
    #expect(desk.look() == "comes")
    desk.comes()
    guard case .take(let batch) = desk.machine.workerLooks(wasWoken: false) else {
      Issue.record("nothing was taken")
      return
    }
    #expect(batch.range.count == 2)
    #expect(batch.trigger == .linger)
    desk.machine.segmentEmptied(batch.segment)
  }

  @Test func `no slot attends where it would have to come for each batch anyway`() {
    let desk = Desk()
    desk.comes()
    desk.machine.shutdownAsked(now: .zero, &desk.effects)
    desk.attends()
    #expect(desk.reader == nil)
    var machine = Machine<String>(settings: MachineSettings(), layout: MessageLayout(of: Int.self))
    #expect(machine.slotAttends(with: nil) == nil)
    machine.free()
  }

  /// A thread posts batches and takes some of them back, as often as it can, while another one reads.
  @Test(arguments: [1, 2, 3] as [UInt64])
  func `each batch is started once, or taken back once`(seed: UInt64) async {
    var random = SeededGenerator(seed: seed)
    var inbox = Inbox()
    let reader = inbox.attend(with: nil)
    let started = Mutex<[Int]>([])
    let isOver = Atomic(false)
    let count = 20_000
    let reading = Task.detached {
      var reader = reader
      var order = reader.look()
      while true {
        switch order {
        case .start(let batch):
          started.withLock { $0.append(batch.sequenceNumber) }
          order = reader.batchEnded()
        case .wait, .come:
          if isOver.load(ordering: .acquiring) { return }
          await Task.yield()
          order = reader.look()
        }
      }
    }
    let segment = Segment(capacity: 1, layout: MessageLayout(of: Int.self), tagged: false)
    var posted: [Int] = []
    var retracted: [Int] = []
    func book(_ actual: InboxCounts) {
      while inbox.booked.ended != inbox.booked.started || inbox.booked.started != actual.started {
        if inbox.booked.ended == inbox.booked.started {
          inbox.bookStart()
          posted.removeFirst()
        } else {
          guard inbox.booked.ended != actual.ended else { return }
          _ = inbox.bookEnd()
        }
      }
    }
    var next = 0
    while next < count {
      if Int.random(in: 0..<16, using: &random) == 0 {
        book(inbox.retract(isWanted: false))
        retracted += posted
        posted = []
      } else if inbox.hasPlace {
        let closed = ClosedBatch(
          segment: segment, range: 0..<1, weight: 0, epoch: 0, trigger: .size, began: .zero)
        posted.append(next)
        book(inbox.post(TakenBatch(closed, sequenceNumber: next, abort: nil)))
        next += 1
      } else {
        book(inbox.actual)
        await Task.yield()
      }
    }
    while !posted.isEmpty || inbox.booked.ended != inbox.booked.started {
      book(inbox.actual)
      await Task.yield()
    }
    isOver.store(true, ordering: .releasing)
    await reading.value
    let all = started.withLock { $0 }
    #expect(all == all.sorted())
    #expect((all + retracted).sorted() == Array(0..<count))
    #expect(!all.isEmpty && !retracted.isEmpty)
    inbox.free()
    segment.free()
  }
}

import AggregatorStorage
import CKafka
import Logging

/// The one thread that talks to a consumer's client: takes its events, reads for those who wait, commits, and ends it.
///
/// It sleeps until something happens: librdkafka has an event or a message, somebody asks for messages or acknowledges
/// some.
final class ConsumerThread {
  /// Partitions that are to be given up.
  struct Leaving {
    /// As librdkafka wants it back.
    let list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>
    let partitions: Set<LogPartition>
    /// Until when it is waited for what is in hands.
    let deadline: ContinuousClock.Instant
    /// Since when nothing is in hands.
    var settledAt: ContinuousClock.Instant?
    /// What the coordinator has answered to the last commit since then, where that failed.
    var refusal: KafkaError?
  }

  /// The longest that giving up partitions waits for the end of a rebalance which does not let commits pass.
  ///
  /// That rebalance may wait for this member in turn; what is not committed is read again by the next member, and its sink
  /// knows it.
  private static let rebalancePatience = Duration.seconds(1)

  /// How far the end is.
  enum Step {
    case works
    case commits(until: ContinuousClock.Instant)
    case leaves(until: ContinuousClock.Instant)
    case isOver(orderly: Bool)
  }

  let client: KafkaClient
  let state: ConsumerState
  let address: KafkaAddress
  let options: KafkaConsumer.Options
  let logger: Logger
  /// The messages of all partitions, apart from the events, so that they stay there until somebody asks.
  let messages: OpaquePointer
  var reader: MessageReader
  var committer = Committer()
  var leaving: [Leaving] = []
  private let ends = EndsWatch()
  private var step = Step.works
  private var wasAssigned = false
  private var nextLook = ContinuousClock.now

  init(
    _ client: KafkaClient, _ state: ConsumerState, _ address: KafkaAddress, _ options: KafkaConsumer.Options,
    logger: Logger
  ) {
    self.client = client
    self.state = state
    self.address = address
    self.options = options
    self.logger = logger
    messages = rd_kafka_queue_new(client.pointer)
    reader = MessageReader(address, stream: options.stream)
  }

  /// Works until the consumer is closed.
  func run() {
    // The bell lives as long as `state`, which this object keeps until the client is gone.
    let bell = Unmanaged.passUnretained(state.bell).toOpaque()
    for queue in [client.queue, messages] {
      rd_kafka_queue_cb_event_enable(
        queue,
        { _, bell in
          if let bell { Unmanaged<Doorbell>.fromOpaque(bell).takeUnretainedValue().ring() }
        }, bell)
    }
    subscribe()
    while true {
      state.bell.wait(.milliseconds(committer.isBusy || leaving.isEmpty ? 100 : 10))
      takeEvents()
      giveUpWhatIsSettled()
      serve()
      look()
      goOnEnding()
      if case .isOver(let orderly) = step {
        end(orderly: orderly)
        return
      }
    }
  }

  private func subscribe() {
    let list = rd_kafka_topic_partition_list_new(1)
    defer { rd_kafka_topic_partition_list_destroy(list) }
    rd_kafka_topic_partition_list_add(list, address.topic.subscription, RD_KAFKA_PARTITION_UA)
    let code = rd_kafka_subscribe(client.pointer, list)
    if code != RD_KAFKA_RESP_ERR_NO_ERROR {
      state.fail(ProgramError("\(address): cannot be subscribed to: \(KafkaError(code))"))
    }
  }

  // MARK: Events

  private func takeEvents() {
    while let event = rd_kafka_queue_poll(client.queue, 0) {
      switch rd_kafka_event_type(event) {
      case RD_KAFKA_EVENT_REBALANCE: rebalance(event)
      case RD_KAFKA_EVENT_OFFSET_COMMIT: finishCommit(event)
      case RD_KAFKA_EVENT_ERROR: meet(client.note(event))
      case RD_KAFKA_EVENT_LOG: client.log(event)
      case RD_KAFKA_EVENT_STATS: commitIfSteady(event)
      default: break
      }
      rd_kafka_event_destroy(event)
    }
  }

  /// Goes on, or says to those who wait that nothing will come.
  func meet(_ error: KafkaError) {
    let text = "\(address): \(client.lastTrouble ?? "\(error)")\(error.advice)"
    switch error.code {
    case RD_KAFKA_RESP_ERR__FATAL:
      state.fail(ProgramError("\(address): the consumer cannot go on: \(client.fatalError ?? error)"))
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
      state.fail(ProgramError(text))
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
      state.fail(
        ProgramError(
          "\(text); the other members use another partition.assignment.strategy: give the same, or another group"))
    case RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR__SSL:
      // Later it may be a broker that is not ready yet.
      if !wasAssigned { state.fail(ProgramError(text)) }
    default: break
    }
  }

  // MARK: Partitions

  private var isCooperative: Bool {
    rd_kafka_rebalance_protocol(client.pointer).map { String(cString: $0) } == "COOPERATIVE"
  }

  private func rebalance(_ event: OpaquePointer) {
    guard let list = rd_kafka_event_topic_partition_list(event) else { return }
    reader.forget()
    switch rd_kafka_event_error(event) {
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
      take(list)
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
      let partitions = Set(Self.places(list).map(\.partition))
      state.withAssignment { $0.leave(partitions) }
      leaving.append(
        Leaving(
          list: rd_kafka_topic_partition_list_copy(list), partitions: partitions,
          deadline: .now + options.revokeTimeout))
      logger.info("partitions are to be given up", metadata: metadata(partitions))
    case let code:
      logger.info("a rebalance failed", metadata: ["kafka.error": "\(KafkaError(code))"])
      rd_kafka_assign(client.pointer, nil)
      state.withAssignment { $0.remove($0.all) }
    }
  }

  private func take(_ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) {
    wasAssigned = true
    let places = Self.places(list)
    state.withAssignment { $0.add(places) }
    for place in places {
      guard let queue = rd_kafka_queue_get_partition(client.pointer, place.topic, place.number) else { continue }
      rd_kafka_queue_forward(queue, messages)
      rd_kafka_queue_destroy(queue)
    }
    if isCooperative {
      complain(rd_kafka_incremental_assign(client.pointer, list))
    } else {
      rd_kafka_assign(client.pointer, list)
    }
    logger.info("partitions are assigned", metadata: metadata(Set(places.map(\.partition))))
  }

  /// Gives up the partitions of which nothing is in hands any more, and all is committed; or for which time is up.
  private func giveUpWhatIsSettled() {
    while !leaving.isEmpty {
      let isLost = rd_kafka_assignment_lost(client.pointer) == 1
      guard isLost || isReadyToGo() else { return }
      let gone = leaving.removeFirst()
      // Before another member can have them.
      state.withAssignment { $0.remove(gone.partitions) }
      if isCooperative {
        complain(rd_kafka_incremental_unassign(client.pointer, gone.list))
      } else {
        rd_kafka_assign(client.pointer, nil)
      }
      rd_kafka_topic_partition_list_destroy(gone.list)
      logger.info(isLost ? "partitions are lost" : "partitions are given up", metadata: metadata(gone.partitions))
    }
  }

  /// Whether nothing more is to be done for the first of the partitions that are to be given up; begins a commit where
  /// there is.
  private func isReadyToGo() -> Bool {
    let now = ContinuousClock.now
    let partitions = leaving[0].partitions
    if leaving[0].settledAt == nil {
      let outstanding = state.withAssignment { $0.outstanding(in: partitions) }
      if outstanding > 0, case .works = step, now < leaving[0].deadline { return false }
      leaving[0].settledAt = now
    }
    guard let settledAt = leaving[0].settledAt else { return false }
    let patience =
      switch leaving[0].refusal?.code {
      case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        Duration.zero
      case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS: Self.rebalancePatience
      default: options.closeTimeout
      }
    if now >= settledAt + patience { return true }
    commit()
    return !committer.isBusy && state.withAssignment { $0.commits(in: partitions) }.isEmpty
  }

  private func complain(_ error: OpaquePointer?) {
    guard let error = KafkaError(taking: error) else { return }
    logger.info("librdkafka refuses an assignment", metadata: ["kafka.error": "\(error)"])
  }

  private static func places(_ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) -> [Assignment.Place] {
    (0..<Int(list.pointee.cnt)).map { index in
      let element = list.pointee.elems[index]
      return Assignment.Place(topic: String(cString: element.topic), number: element.partition)
    }
  }

  private func metadata(_ partitions: Set<LogPartition>) -> Logger.Metadata {
    [
      "kafka.address": "\(address)",
      "kafka.partitions": "\(partitions.map(\.description).sorted().joined(separator: " "))",
    ]
  }

  // MARK: What can be seen

  private func look() {
    guard ContinuousClock.now >= nextLook else { return }
    nextLook = .now + .milliseconds(200)
    let places = state.withAssignment { $0.places }
    if state.wanted == nil { ends.ask(places, client) }
    state.show(ends: ends.ends(of: places, client))
  }

  // MARK: The end

  private func goOnEnding() {
    switch (step, state.ending) {
    case (_, .vanishing): step = .isOver(orderly: false)
    case (.works, .goesOn): break
    case (.works, .closing): step = .commits(until: .now + options.closeTimeout)
    case (.commits(let deadline), _):
      commit()
      let isDone = !committer.isBusy && state.withAssignment { $0.commits() }.isEmpty
      guard isDone || ContinuousClock.now > deadline else { return }
      complain(rd_kafka_consumer_close_queue(client.pointer, client.queue))
      step = .leaves(until: .now + options.closeTimeout)
    case (.leaves(let deadline), _):
      if rd_kafka_consumer_closed(client.pointer) == 1 {
        step = .isOver(orderly: true)
      } else if ContinuousClock.now > deadline {
        step = .isOver(orderly: false)
      }
    case (.isOver, _): break
    }
    // What is next does not wait for an event.
    if case .commits = step { state.bell.ring() }
  }

  private func end(orderly: Bool) {
    state.withAssignment { $0.remove($0.all) }
    ends.end()
    for queue in [client.queue, messages] { rd_kafka_queue_cb_event_enable(queue, nil, nil) }
    for one in leaving { rd_kafka_topic_partition_list_destroy(one.list) }
    rd_kafka_queue_destroy(messages)
    client.destroy(isOrderly: orderly)
    state.end.happen()
  }
}

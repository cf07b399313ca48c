import AggregatorStorage
import Testing

@testable import KafkaLog

@Suite struct AssignmentTests {
  private let place = Assignment.Place(topic: "t", number: 0)
  private let other = Assignment.Place(topic: "t", number: 1)

  private func message(_ position: Int64, _ epoch: Int64, _ number: Int32 = 0) -> LogMessage {
    LogMessage(
      partition: LogPartition("t/\(number)"), position: position, stream: .messages,
      message: Message(body: "\(position)", receivedAt: 0), redeliveries: 0, ticket: epoch)
  }

  @Test func `What is said of an earlier assignment counts nothing`() {
    var assignment = Assignment()
    assignment.add([place])
    let old = message(7, 1)
    #expect(assignment.handOut([old]).count == 1)
    assignment.remove(assignment.all)
    #expect(!assignment.owns(old))
    assignment.add([place])
    #expect(!assignment.owns(old))
    assignment.acknowledge([old])
    #expect(assignment.commits().isEmpty)
    let new = message(7, 2)
    #expect(assignment.handOut([new]).count == 1)
    #expect(assignment.giveBack([old]) == false)
    assignment.acknowledge([old])
    #expect(assignment.commits().isEmpty)
    assignment.acknowledge([new])
    #expect(assignment.commits().map(\.offset) == [8])
  }

  @Test func `A commit of an earlier assignment that is answered late counts nothing`() {
    var assignment = Assignment()
    assignment.add([place])
    _ = assignment.handOut([message(0, 1)])
    assignment.acknowledge([message(0, 1)])
    let commit = assignment.commits()
    assignment.remove(assignment.all)
    assignment.add([place])
    _ = assignment.handOut([message(0, 2)])
    assignment.acknowledge([message(0, 2)])
    for one in commit { assignment.succeeded(one) }
    #expect(assignment.commits().map(\.offset) == [1])
  }

  @Test func `A partition that is to be given up takes acknowledgements and gives nothing out`() {
    var assignment = Assignment()
    assignment.add([place, other])
    _ = assignment.handOut([message(0, 1), message(1, 1), message(0, 2, 1)])
    #expect(assignment.giveBack([message(1, 1)]) == true)
    assignment.leave([place.partition])
    #expect(assignment.takeWaiting(atMost: 10).isEmpty)
    #expect(assignment.handOut([message(2, 1)]).isEmpty)
    #expect(assignment.owns(message(0, 1)) == true)
    #expect(assignment.outstanding(in: [place.partition]) == 1)
    assignment.acknowledge([message(0, 1)])
    #expect(assignment.outstanding(in: [place.partition]) == 0)
    #expect(assignment.commits(in: [place.partition]).map(\.offset) == [1])
    #expect(assignment.commits(in: [other.partition]).isEmpty)
  }

  @Test func `What is given back comes again in order, before what follows`() {
    var assignment = Assignment()
    assignment.add([place])
    let all = (0..<4).map { message($0, 1) }
    _ = assignment.handOut(all)
    #expect(assignment.giveBack([all[3]]) == true)
    #expect(assignment.giveBack([all[1], all[2]]) == true)
    #expect(assignment.giveBack([all[1]]) == false)
    let again = assignment.handOut(assignment.takeWaiting(atMost: 10))
    #expect(again.map(\.position) == [1, 2, 3])
    #expect(again.map(\.redeliveries) == [1, 1, 1])
    assignment.count(again)
    #expect(assignment.redelivered == 3)
  }

  @Test func `The lag counts what is not acknowledged, as far as the ends are known`() {
    var assignment = Assignment()
    assignment.add([place, other])
    #expect(assignment.lag(ends: [place: 5, other: 9]) == nil)
    _ = assignment.handOut([message(2, 1)])
    assignment.reachedEnd(of: other.partition, at: 9)
    #expect(assignment.lag(ends: [place: 5, other: 9]) == 3)
    #expect(
      assignment.behind(ends: [place: 5, other: 9]) == [place.partition.description: 3, other.partition.description: 0])
    assignment.acknowledge([message(2, 1)])
    #expect(assignment.lag(ends: [place: 5, other: 11]) == 4)
    #expect(assignment.lag(ends: [place: 5]) == nil)
    #expect(assignment.behind(ends: [place: 5]) == [place.partition.description: 2])
  }
}

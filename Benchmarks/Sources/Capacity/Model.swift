/// What parts a load takes, by what a message, a batch and a byte were measured to cost.
///
/// Every number can be given; the defaults are those of `make load-log` on the machine that docs/scaling.md names.
struct Model {
  /// A number that goes in.
  struct Parameter {
    let name: String
    let meaning: String
    let path: WritableKeyPath<Model, Double>
  }

  // The load.
  var bytes = 200.0
  var batch = 500.0
  // The machines.
  var cores = 16.0
  var headroom = 0.6
  // Microseconds of processor time of a message, on all machines of a part together.
  var edge = 7.5
  var logIn = 52.0
  var logOut = 19.5
  var member = 9.0
  var store = 12.5
  // Microseconds of a batch, beside those of its messages.
  var memberBatch = 400.0
  var storeBatch = 340.0
  // Messages a second that one of these takes, however many cores there are.
  var edgeRate = 100_000.0
  var streamRate = 30_500.0
  var laneRate = 37_000.0
  var storeRate = 65_000.0
  // Bytes beside those of the message, on all ways together.
  var networkIn = 1_050.0
  var networkOut = 650.0
  // How often the bytes of a message itself go over the network until they are in the log, and from there into the store.
  var copiesIn = 4.0
  var copiesOut = 2.0
  // Bytes beside those of the message on the disk of each replica.
  var disk = 145.0
  var replicas = 3.0

  static var parameters: [Parameter] {
    [
      Parameter(name: "bytes", meaning: "bytes of a message", path: \.bytes),
      Parameter(name: "batch", meaning: "messages that a member stores at once", path: \.batch),
      Parameter(name: "cores", meaning: "cores of a machine", path: \.cores),
      Parameter(
        name: "headroom", meaning: "share of what they and each part can do that is planned with", path: \.headroom),
      Parameter(name: "edge", meaning: "µs of a message at the edges", path: \.edge),
      Parameter(
        name: "log-in", meaning: "µs of a message in the log's servers on its way in, all replicas", path: \.logIn),
      Parameter(name: "log-out", meaning: "µs of a message in the log's servers on its way out", path: \.logOut),
      Parameter(name: "member", meaning: "µs of a message at the members", path: \.member),
      Parameter(name: "member-batch", meaning: "µs of a batch at the members", path: \.memberBatch),
      Parameter(name: "store", meaning: "µs of a message in PostgreSQL", path: \.store),
      Parameter(name: "store-batch", meaning: "µs of a batch in PostgreSQL", path: \.storeBatch),
      Parameter(name: "edge-rate", meaning: "messages a second of one edge, at most", path: \.edgeRate),
      Parameter(
        name: "stream-rate", meaning: "messages a second into one stream of JetStream or partition of Kafka, at most",
        path: \.streamRate),
      Parameter(
        name: "lane-rate", meaning: "messages a second of one subject or partition that a member stores, at most",
        path: \.laneRate),
      Parameter(name: "store-rate", meaning: "messages a second of one PostgreSQL, at most", path: \.storeRate),
      Parameter(
        name: "network-in", meaning: "bytes beside the message on the network, into the log", path: \.networkIn),
      Parameter(name: "network-out", meaning: "the same out of it, into the store", path: \.networkOut),
      Parameter(name: "disk", meaning: "bytes beside the message on the disk of each replica", path: \.disk),
      Parameter(name: "replicas", meaning: "replicas", path: \.replicas),
    ]
  }

  /// What a load takes.
  struct Demand {
    var edges: Double
    var edgeMachines: Double
    var streams: Double
    var logMachines: Double
    var members: Double
    var memberMachines: Double
    var stores: Double
    var storeMachines: Double
    var commits: Double
    var networkBits: Double
    var diskBytes: Double
  }

  /// What so many messages a second take.
  func demand(of rate: Double) -> Demand {
    let memberCost = member + memberBatch / batch
    let storeCost = store + storeBatch / batch
    // A lane has one batch at a time, so what a batch itself takes is waited for; it was measured with batches of 500.
    let lane = 1 / (1 / laneRate + (memberBatch + storeBatch) / 1e6 * (1 / batch - 1 / 500))
    let stores = max(rate / (storeRate * headroom), 1).rounded(.up)
    return Demand(
      edges: max(rate / (edgeRate * headroom), 1).rounded(.up),
      edgeMachines: machines(rate * edge),
      streams: max(rate / (min(streamRate, lane) * headroom), 1).rounded(.up),
      logMachines: max(machines(rate * (logIn + logOut)), replicas),
      members: max(rate / (lane * headroom), 1).rounded(.up),
      memberMachines: machines(rate * memberCost),
      stores: stores,
      storeMachines: max(machines(rate * storeCost), stores),
      commits: rate / batch,
      networkBits: 8 * rate * (networkIn + networkOut + (copiesIn + copiesOut) * bytes),
      diskBytes: rate * replicas * (bytes + disk))
  }

  /// Machines for so many microseconds of work each second.
  private func machines(_ microseconds: Double) -> Double {
    (microseconds / 1e6 / (cores * headroom)).rounded(.up)
  }
}

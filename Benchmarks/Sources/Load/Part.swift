/// One way to load the program: which store, what requests, which batch size.
struct Part: Hashable {
  enum Form: String {
    /// Each request is one message.
    case singles
    /// Each request is a body of 1,000 lines.
    case bodies
  }

  let store: StoreKind
  let form: Form
  /// Whether the program batches as it does by default, or each message has a transaction of its own.
  let isBatched: Bool

  static let all = StoreKind.allCases.flatMap { store in
    [
      Part(store: store, form: .singles, isBatched: true),
      Part(store: store, form: .singles, isBatched: false),
      Part(store: store, form: .bodies, isBatched: true),
    ]
  }

  var clients: Int { form == .singles ? 64 : 4 }
  var messagesEach: Int { form == .singles ? 1 : 1000 }
  var options: [String] { isBatched ? [] : ["--batch-size", "1"] }

  var name: String {
    let what =
      form == .singles
      ? "single messages, \(clients) clients" : "NDJSON, bodies of 1,000 messages, \(clients) clients"
    return "\(store.name): \(what)\(isBatched ? "" : ", `--batch-size 1`")"
  }
}

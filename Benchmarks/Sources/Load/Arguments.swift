import LoadSupport

/// What is to be measured.
struct Arguments {
  static let usage = """
    usage: Load PROGRAM [options]
      --seconds N             how long each part is loaded (10)
      --rounds N              how often each part is run; parts take turns (1)
      --store sqlite|postgres only this store
      --part singles|bodies   only single messages, or only bodies of a thousand
      --batch-size default|1  only parts with this batch size
      --write FILE            put the results between the marks in FILE
    """

  var program = ""
  var seconds = 10.0
  var rounds = 1
  var store: StoreKind?
  var form: Part.Form?
  var isBatched: Bool?
  var file: String?

  init(_ arguments: [String]) throws {
    var rest = arguments.makeIterator()
    while let argument = rest.next() {
      guard argument.hasPrefix("--") else {
        guard program.isEmpty else { throw LoadError(description: "'\(argument)' is one too many\n\(Self.usage)") }
        program = argument
        continue
      }
      guard let value = rest.next() else { throw LoadError(description: "\(argument) wants a value\n\(Self.usage)") }
      guard set(argument, value) else { throw LoadError(description: "\(argument) \(value)?\n\(Self.usage)") }
    }
    if program.isEmpty { throw LoadError(description: Self.usage) }
  }

  /// Returns whether there is such an option, and the value is one of it.
  private mutating func set(_ option: String, _ value: String) -> Bool {
    switch option {
    case "--seconds":
      guard let number = Double(value), number > 0 else { return false }
      seconds = number
    case "--rounds":
      guard let number = Int(value), number > 0 else { return false }
      rounds = number
    case "--store":
      guard let kind = StoreKind(rawValue: value) else { return false }
      store = kind
    case "--part":
      guard let form = Part.Form(rawValue: value) else { return false }
      self.form = form
    case "--batch-size":
      guard ["default", "1"].contains(value) else { return false }
      isBatched = value == "default"
    case "--write": file = value
    default: return false
    }
    return true
  }

  /// The parts that were asked for, in the order in which they take turns.
  var parts: [Part] {
    Part.all.filter { part in
      (store.map { $0 == part.store } ?? true) && (form.map { $0 == part.form } ?? true)
        && (isBatched.map { $0 == part.isBatched } ?? true)
    }
  }
}

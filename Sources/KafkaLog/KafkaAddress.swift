package import AggregatorStorage
import Foundation

/// A cluster, a topic on it, and how to talk to it: what `kafka://BROKERS/TOPIC?…` says.
///
/// Parameters with names that this program does not know are librdkafka's configuration, such as `sasl.username`; secrets
/// are better in a file, `?config=PATH`, of lines `NAME=VALUE` as librdkafka's other programs read it.
package struct KafkaAddress: Sendable, Hashable, CustomStringConvertible {
  /// `HOST:PORT` of some brokers; the others are found by them.
  package let brokers: [String]
  package let topic: KafkaTopic
  /// The consumer group; only a source has one.
  package let group: String?
  /// Where the identity of a message that is read comes from.
  package let identity: KafkaIdentity
  /// librdkafka's configuration, in the order in which it was given; what is later wins.
  ///
  /// It may hold secrets.
  package let parameters: [Parameter]

  /// A property of librdkafka.
  package struct Parameter: Sendable, Hashable {
    package let name: String
    package let value: String
  }

  private static let form = "give kafka://HOST[:PORT][,HOST[:PORT]…]/TOPIC[?NAME=VALUE&…]"

  /// Reads an address, and the file that it names.
  ///
  /// - Throws: ``ProgramError``; it never quotes a value.
  package init(_ text: String) throws(ProgramError) {
    guard let scheme = text.firstRange(of: "://"), text[..<scheme.lowerBound] == "kafka" else {
      throw ProgramError("this is no Kafka cluster: \(Self.form)")
    }
    let rest = text[scheme.upperBound...]
    let (location, query) = Self.split(rest, at: "?")
    guard !location.contains("@") else {
      throw ProgramError(
        "a user stands before '@' in the address: give it as ?sasl.username=…, and better in a file, ?config=PATH")
    }
    let (hosts, path) = Self.split(location, at: "/")
    brokers = try hosts.split(separator: ",", omittingEmptySubsequences: false).map(Self.broker)
    guard let path, !path.isEmpty else { throw ProgramError("the address names no topic: \(Self.form)") }
    topic = try KafkaTopic(path.removingPercentEncoding ?? String(path))

    var group: String?
    var identity = KafkaIdentity.header
    var parameters: [Parameter] = []
    for parameter in try Self.parameters(query ?? "") {
      switch parameter.name {
      case "group": group = parameter.value
      case "config": parameters += try Self.file(parameter.value)
      case "identity":
        guard let value = KafkaIdentity(rawValue: parameter.value) else {
          throw ProgramError("identity=\(parameter.value) is none: give identity=header or identity=offset")
        }
        identity = value
      default: parameters.append(parameter)
      }
    }
    if group?.isEmpty == true { throw ProgramError("group= names no group: give group=NAME") }
    self.group = group
    self.identity = identity
    self.parameters = parameters
  }

  private static func split(_ text: Substring, at character: Character) -> (Substring, Substring?) {
    guard let index = text.firstIndex(of: character) else { return (text, nil) }
    return (text[..<index], text[text.index(after: index)...])
  }

  private static func broker(_ text: Substring) throws(ProgramError) -> String {
    let hasPort = text.last == "]" ? false : text.contains(":")
    let port = hasPort ? text[text.index(after: text.lastIndex(of: ":") ?? text.startIndex)...] : "9092"
    let host = hasPort ? text[..<(text.lastIndex(of: ":") ?? text.endIndex)] : text
    guard !host.isEmpty, let number = Int(port), (1...65_535).contains(number) else {
      throw ProgramError("'\(text)' is no broker: give HOST or HOST:PORT, several with commas between them")
    }
    return "\(host):\(number)"
  }

  private static func parameters(_ query: Substring) throws(ProgramError) -> [Parameter] {
    var parameters: [Parameter] = []
    for part in query.split(separator: "&") {
      let (name, value) = split(part, at: "=")
      guard let value, let name = name.removingPercentEncoding, let value = value.removingPercentEncoding, !name.isEmpty
      else {
        throw ProgramError("'\(name)' in the address has no value: give NAME=VALUE, with %26 for a '&' in the value")
      }
      parameters.append(Parameter(name: name, value: value))
    }
    return parameters
  }

  /// The properties in a file: a line each, `NAME=VALUE`; those that begin with `#` are comments.
  private static func file(_ path: String) throws(ProgramError) -> [Parameter] {
    let text: String
    do {
      text = try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw ProgramError("config=\(path) cannot be read: \(error.localizedDescription)")
    }
    var parameters: [Parameter] = []
    for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.isEmpty || line.hasPrefix("#") { continue }
      let (name, value) = split(line[...], at: "=")
      guard let value else { throw ProgramError("line \(number + 1) of '\(path)' is no NAME=VALUE") }
      parameters.append(
        Parameter(
          name: name.trimmingCharacters(in: .whitespaces), value: value.trimmingCharacters(in: .whitespaces)))
    }
    return parameters
  }

  /// As it is shown and logged: without parameters, which may be secrets.
  package var description: String { "kafka://\(brokers.joined(separator: ","))/\(topic)" }
}

/// Where the identity of a message that is read comes from.
package enum KafkaIdentity: String, Sendable, Hashable {
  /// Its header `Idempotency-Key`; where it has none, its place.
  case header
  /// Its place: `kafka/TOPIC/PARTITION/OFFSET`.
  case offset
}

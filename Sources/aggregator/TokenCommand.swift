import AggregatorService
import AggregatorStorage
import ArgumentParser

/// `aggregator token`: a new token.
struct TokenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token",
    abstract: "Makes a bearer token, and its line for the file that --tokens names.",
    discussion: """
      The line goes to standard output, the token itself to standard error: it is for the client, shown once, and kept \
      nowhere.

        aggregator token web --streams orders,clicks >> tokens
        kill -HUP $(pidof aggregator)

      A client sends it as 'Authorization: Bearer TOKEN'. The file has a line for each token, with its name, its SHA-256 in \
      hexadecimal, and the streams that it is for; lines that begin with # are comments.
      """
  )

  @Argument(help: "The name of who gets it, for logs: letters, digits, '.', '_' and '-'.")
  var name: String

  @Option(help: .init("The streams that it may send to, with commas. (default: all)", valueName: "streams"))
  var streams: String?

  func run() throws {
    let token: NewToken
    do {
      token = try NewToken(name: name, streams: try streams.map { try Tokens.streams($0) })
    } catch {
      throw ValidationError("\(error)")
    }
    complain("the token, shown only now: \(token.secret)")
    print(token.line)
  }
}

extension OptionCatalogue {
  // MARK: The help page

  /// The options for `aggregator --help`, by section, in lines of at most 96 characters.
  package static var help: String {
    OptionSection.allCases.map { section in
      ([section.rawValue.uppercased() + ":"] + all.filter { $0.section == section }.map(helpEntry))
        .joined(separator: "\n")
    }
    .joined(separator: "\n\n")
  }

  private static let helpWidth = 96
  private static let helpIndent = 28

  private static func helpEntry(_ option: CatalogueOption) -> String {
    let reload = option.isReloadable ? "; changes on SIGHUP" : ""
    // A word of the sentence when it is long, such as the kinds of targets.
    let facts = "(\(option.allowed); default \(option.defaultText)\(reload))"
    let lines = wrap("\(option.help) \(facts)", width: helpWidth - helpIndent)
    let margin = String(repeating: " ", count: helpIndent)
    let head = "  " + option.usage
    let isShort = head.count < helpIndent
    let first = isShort ? head + String(repeating: " ", count: helpIndent - head.count) : head + "\n" + margin
    return first + lines.joined(separator: "\n" + margin)
  }

  /// Cuts text into lines between words.
  static func wrap(_ text: String, width: Int) -> [String] {
    var lines: [String] = []
    for word in text.split(separator: " ") {
      if let last = lines.last, last.count + 1 + word.count <= width {
        lines[lines.count - 1] = "\(last) \(word)"
      } else {
        lines.append(String(word))
      }
    }
    return lines
  }

  // MARK: The reference page

  /// The reference page, Markdown.
  package static var reference: String {
    var page = """
      # Configuration of `aggregator`

      <!-- Made by `aggregator reference > docs/configuration.md`; do not edit. -->

      Each option can be given on the command line (`--batch-size 500` or `--batch-size=500`), in the environment
      (`AGGREGATOR_BATCH_SIZE=500`), or in a YAML file that `--config` or `AGGREGATOR_CONFIG` names (`batch-size: 500`). The
      command line wins over the environment, and that over the file. What is unknown or malformed is refused, and never
      passed over; only the variables that Kubernetes sets for a service called `aggregator` are.

      Times have a unit: `us`, `ms`, `s`, `m`, `h`. Sizes are bytes, or have `KiB`, `MiB`, `GiB`, `TiB`. What is on or off is
      `true` or `false`; on the command line the name alone turns it on. `none` takes away what a place that counts less has
      given.

      `aggregator check`, with the same options, environment and file, tells everything that is wrong, or what is in force and
      where each value comes from.

      ## The file

      One level of keys, named as the options:

      ```yaml
      from: http://127.0.0.1:8080
      to: postgres://writer@db.example/messages
      batch-size: 1000
      linger: 5ms
      journal: /var/lib/aggregator/journal.db
      log-level: info
      ```

      ## SIGHUP

      \(reloading)

      ## Tokens

      The file that `--tokens` names has a line for each token: a name for the logs, the SHA-256 of the token in hexadecimal,
      and, if it is not for all streams, the streams that it may send to. `aggregator token NAME` makes a token, and its line.

      ```
      # name   SHA-256 of the token                                               streams
      web      0baa31eab393e0f41701e1be4ef05c5934406b43811fb8f8d7c8577ef0817aa6   orders,clicks
      batch    794f46e7e5ddc9c77ffd514bac68e4c56a37efca7aea12a062e4039b4fe362a4
      ```

      A client sends `Authorization: Bearer TOKEN`. The file holds no secret, because a token has 256 random bits and cannot be
      found from its digest; but who can write to it can let anybody in, so only its owner should be able to.

      """
    for section in OptionSection.allCases {
      page += "\n## \(section.rawValue)\n"
      for option in all where option.section == section { page += referenceEntry(option) }
    }
    return page
  }

  private static var reloading: String {
    let names = all.filter(\.isReloadable).map { "`\($0.name)`" }
    let text = """
      SIGHUP reads the file and the tokens again. \(names.dropLast().joined(separator: ", ")) and \(names.last ?? "") change \
      at once; for any other change the log names the options that need a restart, and they stay as they were. When \
      something is wrong, all stays as it was, and the log says what it is.
      """
    return wrap(text, width: 120).joined(separator: "\n")
  }

  private static func referenceEntry(_ option: CatalogueOption) -> String {
    // In a table `|` would have to be escaped; none of the texts has one.
    """

    ### `\(option.usage)`

    \(wrap(option.help, width: 120).joined(separator: "\n"))

    | default | allowed | variable | on SIGHUP |
    |---|---|---|---|
    | `\(option.defaultText)` | \(option.allowed) | `\(option.variable)` | \(option.isReloadable ? "changes" : "stays") |

    """
  }
}

extension CatalogueOption {
  /// As it stands on the command line.
  package var usage: String { placeholder.map { "--\(name) \($0)" } ?? "--\(name)" }
}

import AggregatorService
import ArgumentParser

/// What `aggregator --help` prints.
enum HelpPage {
  static var text: String {
    """
    \(AggregatorCommand.configuration.abstract)

    Clients post JSON to /v1/messages: one value, an array of values, or one value a line
    (application/x-ndjson). The answer comes after the commit of the batch that holds them: many
    clients, one transaction.

      aggregator --from http://127.0.0.1:8080 --to sqlite:messages.db
      curl -H 'Content-Type: application/json' -d '{"hello":"world"}' \\
           http://127.0.0.1:8080/v1/messages
      aggregator --from stdin --to sqlite:messages.db < messages.ndjson

    USAGE: aggregator [OPTIONS]
           aggregator SUBCOMMAND    (see aggregator help SUBCOMMAND)

    SUBCOMMANDS:
    \(subcommands)

    Each option can also be given in the environment, as \(OptionCatalogue.variablePrefix)BATCH_SIZE=500, or in the YAML
    file that --config names, as batch-size: 500. The command line wins over the environment, and
    that over the file. SIGHUP reads the file and the tokens again.

    \(OptionCatalogue.help)

    OTHER:
      -h, --help                Shows this page.
      --version                 Shows the version.

    The first Ctrl-C or SIGTERM stores what was taken and ends; a second one ends at once.

    Exit status: 0 done; 1 it could not start; 64 wrong usage; 65 malformed lines on standard input
    (the others are stored); 74 messages that could not be stored; 130 or 143 a signal ended
    standard input early (what was read is stored), or a second signal ended it at once.
    """
  }

  private static var subcommands: String {
    AggregatorCommand.configuration.subcommands.filter { $0.configuration.shouldDisplay }.map { command in
      let name = command.configuration.commandName ?? ""
      return "  \(name)\(String(repeating: " ", count: max(26 - name.count, 1)))\(command.configuration.abstract)"
    }
    .joined(separator: "\n")
  }
}

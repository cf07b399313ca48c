/// Something that the program can be told: its names, what it may be, and which field of ``ProgramOptions`` it sets.
package struct CatalogueOption: Sendable {
  /// The name on the command line, without the `--`, and in the file.
  package let name: String
  package let section: OptionSection
  /// What it means, in one paragraph.
  package let help: String
  /// What stands for the value in help texts; `nil` for what is either on or off.
  package let placeholder: String?
  /// What it may be, in words.
  package let allowed: String
  /// Whether SIGHUP applies it to the program that runs.
  package let isReloadable: Bool

  /// Reads a value into its field; throws a ``ProgramError`` that quotes it and says what is allowed.
  package let read: @Sendable (String, inout ProgramOptions) throws -> Void
  /// The field's value as `read` takes it, without what is secret.
  package let show: @Sendable (ProgramOptions) -> String
  /// Whether the field has the same value in both.
  package let isSame: @Sendable (ProgramOptions, ProgramOptions) -> Bool
  /// Takes the field's value over.
  package let copy: @Sendable (_ from: ProgramOptions, _ to: inout ProgramOptions) -> Void

  init<Value>(
    _ name: String, _ field: any WritableKeyPath<ProgramOptions, Value> & Sendable, _ kind: OptionKind<Value>,
    in section: OptionSection, isReloadable: Bool = false, _ help: String
  ) {
    self.name = name
    self.section = section
    self.help = help
    self.isReloadable = isReloadable
    placeholder = kind.placeholder
    allowed = kind.allowed
    read = { text, options in options[keyPath: field] = try kind.read(text) }
    show = { kind.show($0[keyPath: field]) }
    isSame = { $0[keyPath: field] == $1[keyPath: field] }
    copy = { $1[keyPath: field] = $0[keyPath: field] }
  }

  /// An option whose value may be absent, which is said by `none`.
  init<Value>(
    _ name: String, _ field: any WritableKeyPath<ProgramOptions, Value?> & Sendable, orNone kind: OptionKind<Value>,
    in section: OptionSection, isReloadable: Bool = false, _ help: String
  ) {
    self.init(name, field, kind.orNone, in: section, isReloadable: isReloadable, help)
  }

  /// The name of the environment's variable.
  package var variable: String {
    OptionCatalogue.variablePrefix + name.uppercased().replacing("-", with: "_")
  }

  /// The default, as `read` takes it.
  package var defaultText: String { show(ProgramOptions()) }
}

/// What options are about; the order is that of the help page and of the reference page.
package enum OptionSection: String, Sendable, CaseIterable {
  case ways = "From where to where"
  case batches = "Batches"
  case failures = "When storing fails"
  case kept = "What is kept"
  case safety = "Safety"
  case limits = "Limits"
  case seen = "Seen"
  case files = "The file sink"
  case itself = "Configuration"
}

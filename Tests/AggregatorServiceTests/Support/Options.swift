@testable import AggregatorService

/// The defaults, with what a test wants otherwise.
func options(_ change: (inout ProgramOptions) -> Void) -> ProgramOptions {
  var options = ProgramOptions()
  change(&options)
  return options
}

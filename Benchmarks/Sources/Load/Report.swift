import Foundation
import LoadSupport

/// What was measured, in Markdown.
struct Report {
  private let runs: [Run]
  private let seconds: Double
  private let rounds: Int

  init(_ runs: [Run], seconds: Double, rounds: Int) {
    self.runs = runs
    self.seconds = seconds
    self.rounds = rounds
  }

  /// In the order in which they were run first.
  private var parts: [Part] { Part.all.filter { part in runs.contains { $0.part == part } } }

  private func runs(of part: Part) -> [Run] { runs.filter { $0.part == part } }

  private func rate(of part: Part) -> Double? {
    let rates = runs(of: part).map(\.rate).sorted()
    return rates.isEmpty ? nil : rates[rates.count / 2]
  }

  var text: String {
    [place, speed, ratios, memory, series].filter { !$0.isEmpty }.joined(separator: "\n\n")
  }

  /// On what, and how.
  private var place: String {
    let information = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let model =
      information.split(separator: "\n").first { $0.hasPrefix("model name") }?.split(separator: ":").last ?? "?"
    let files = (try? output(of: ["stat", "--file-system", "--format=%T", NSTemporaryDirectory()])) ?? "?"
    let stores = parts.reduce(into: [String]()) { stores, part in
      guard let settings = runs(of: part).first?.settings, !stores.contains(settings) else { return }
      stores.append(settings)
    }
    let often = rounds == 1 ? "each part once, \(plain(seconds)) s" : "\(rounds) rounds of \(plain(seconds)) s, medians"
    return """
      \(ProcessInfo.processInfo.activeProcessorCount) cores of \(model.trimmingCharacters(in: .whitespaces)), shared by \
      program, store and clients; files on \(files); \(stores.joined(separator: "; ")); \(often). Messages of \
      \(Request.messageSize) bytes.
      """
  }

  private var speed: String {
    let head = """
      | part | messages a second, stored | answer after, 50 % | 90 % | 99 % | 99.9 % | longest \
      | processor time a message, program | clients |
      |---|---:|---:|---:|---:|---:|---:|---:|---:|
      """
    return ([head] + parts.map(speedRow)).joined(separator: "\n")
  }

  private func speedRow(_ part: Part) -> String {
    let runs = runs(of: part)
    var times = Histogram()
    for run in runs { times.add(run.times) }
    let rates = runs.map(\.rate)
    let range = runs.count > 1 ? " (\(grouped(rates.min() ?? 0)) … \(grouped(rates.max() ?? 0)))" : ""
    let percentiles = [0.5, 0.9, 0.99, 0.999].map { milliseconds(times.milliseconds(at: $0)) }
    let stored = Double(runs.reduce(0) { $0 + $1.stored })
    let costs = [runs.reduce(0) { $0 + $1.programProcessor }, runs.reduce(0) { $0 + $1.clientProcessor }]
      .map { String(format: "%.1f µs", $0 * 1e6 / stored) }
    let cells =
      ["\(grouped(rate(of: part) ?? 0))\(range)"] + percentiles + [milliseconds(times.greatest / .milliseconds(1))]
      + costs
    return "| \(part.name) | \(cells.joined(separator: " | ")) |"
  }

  /// What batches bring.
  private var ratios: String {
    StoreKind.allCases.compactMap { store -> String? in
      guard let batched = rate(of: Part(store: store, form: .singles, isBatched: true)),
        let single = rate(of: Part(store: store, form: .singles, isBatched: false))
      else { return nil }
      return
        "\(store.name), single messages: \(String(format: "%.1f", batched / single)) times what batch size 1 stores."
    }.joined(separator: "\n")
  }

  private var memory: String {
    let head = """
      Resident memory of the program in MiB, and its slope over the last three quarters of the time (least squares); \
      cores that it kept busy:

      | part | at the start | after 10 % | median | at the end | most | KiB a minute | cores, first tenth | last tenth |
      |---|---:|---:|---:|---:|---:|---:|---:|---:|
      """
    return ([head] + parts.flatMap { runs(of: $0).map(memoryRow) }).joined(separator: "\n")
  }

  private func memoryRow(_ run: Run) -> String {
    let watch = run.watch
    let sizes = [
      watch.samples.first?.resident, watch.sample(after: 0.1)?.resident, watch.medianResident,
      watch.samples.last?.resident, watch.samples.last?.peak,
    ].map { mebibytes(Double($0 ?? 0) / 1024) }
    let cores = [watch.tenths.first, watch.tenths.last].map { String(format: "%.2f", $0?.cores ?? 0) }
    return "| \(run.part.name) | \((sizes + [grouped(watch.slope)] + cores).joined(separator: " | ")) |"
  }

  /// Each tenth of the time, of the last round.
  private var series: String {
    let head = """
      By time, each tenth (\(plain(seconds / 10)) s): resident MiB / messages acknowledged a second:

      | part | \((1...10).map(String.init).joined(separator: " | ")) |
      |---|\(String(repeating: "---:|", count: 10))
      """
    let rows = parts.compactMap { part in
      runs(of: part).last.map { run in
        let cells = run.watch.tenths.map { "\(mebibytes($0.resident)) / \(grouped($0.rate))" }
        return "| \(part.name) | \(cells.joined(separator: " | ")) |"
      }
    }
    return ([head] + rows).joined(separator: "\n")
  }

  private func mebibytes(_ number: Double) -> String { String(format: "%.1f", number) }
  private func milliseconds(_ number: Double) -> String { String(format: number < 100 ? "%.1f ms" : "%.0f ms", number) }
  private func plain(_ number: Double) -> String { number == number.rounded() ? String(Int(number)) : "\(number)" }

  // MARK: Writing

  private static let begin = "<!-- make load: begin -->"
  private static let end = "<!-- make load: end -->"

  /// Puts it between the marks.
  func write(into file: String) throws {
    let old = try String(contentsOfFile: file, encoding: .utf8)
    guard let begin = old.range(of: Self.begin), let end = old.range(of: Self.end),
      begin.upperBound <= end.lowerBound
    else { throw LoadError(description: "\(file) has no lines '\(Self.begin)' and '\(Self.end)'") }
    let new = old[..<begin.upperBound] + "\n\n" + text + "\n\n" + old[end.lowerBound...]
    try String(new).write(toFile: file, atomically: true, encoding: .utf8)
  }
}

import Foundation

/// What a process used while it was loaded, by time.
struct Watch {
  struct Sample {
    /// Seconds since the load began.
    let time: Double
    /// Memory that is resident now, and the most that ever was, in KiB.
    let resident: Int
    let peak: Int
    /// Seconds of processor time since the process began.
    let processor: Double
    /// Messages acknowledged so far.
    let messages: Int
  }

  private let process: Int32
  private let period: Double
  private(set) var samples: [Sample] = []

  /// Watches for so many seconds: 600 samples, but not more than ten a second.
  init(process: Int32, seconds: Double) {
    self.process = process
    period = max(0.1, seconds / 600)
  }

  /// Whether the next sample is due.
  func isDue(_ time: Double) -> Bool {
    guard let last = samples.last else { return true }
    return time - last.time >= period
  }

  mutating func look(_ time: Double, messages: Int) {
    let status = Self.read("/proc/\(process)/status")
    samples.append(
      Sample(
        time: time, resident: Self.kibibytes("VmRSS:", in: status), peak: Self.kibibytes("VmHWM:", in: status),
        processor: processorTime(), messages: messages))
  }

  private func processorTime() -> Double {
    // "pid (name) state parent …", and a name may have spaces in it.
    let fields = Self.read("/proc/\(process)/stat").split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  private static func read(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

  private static func kibibytes(_ name: String, in status: String) -> Int {
    status.split(separator: "\n").first { $0.hasPrefix(name) }?.split(whereSeparator: \.isWhitespace).dropFirst().first
      .flatMap { Int($0) } ?? 0
  }

  // MARK: What they say

  private var length: Double { samples.last?.time ?? 0 }

  /// The first sample when this share of the time was over.
  func sample(after share: Double) -> Sample? {
    samples.first { $0.time >= length * share } ?? samples.last
  }

  var medianResident: Int { samples.map(\.resident).sorted()[samples.count / 2] }

  /// By how many KiB a minute memory grows in the last three quarters of the time: the slope of the line with the least squares.
  var slope: Double {
    let late = samples.filter { $0.time >= length / 4 }
    let count = Double(late.count)
    let time = late.reduce(0) { $0 + $1.time } / count
    let resident = late.reduce(0) { $0 + Double($1.resident) } / count
    let above = late.reduce(0) { $0 + ($1.time - time) * (Double($1.resident) - resident) }
    let below = late.reduce(0) { $0 + ($1.time - time) * ($1.time - time) }
    return below > 0 ? above / below * 60 : 0
  }

  /// Each tenth of the time: median of the resident memory in MiB, cores busy, messages acknowledged a second.
  var tenths: [(resident: Double, cores: Double, rate: Double)] {
    (0..<10).compactMap { tenth in
      guard let first = sample(after: Double(tenth) / 10), let last = sample(after: Double(tenth + 1) / 10),
        last.time > first.time
      else { return nil }
      let within = samples.filter { $0.time >= first.time && $0.time <= last.time }.map(\.resident).sorted()
      let time = last.time - first.time
      return (
        Double(within[within.count / 2]) / 1024, (last.processor - first.processor) / time,
        Double(last.messages - first.messages) / time
      )
    }
  }
}

import Foundation

/// Draws SVG that can be read on a light page and on a dark one.
enum Plot {
  private static let style = """
    <style>
      text { font: 13px system-ui, sans-serif; fill: #444 } .line { fill: none; stroke-width: 2 } .grid { stroke: #8884 }
      .ours { fill: #e8590c } .peer { fill: #4c6ef5 } .floor { fill: #868e96 }
      @media (prefers-color-scheme: dark) { text { fill: #ccc } }
    </style>
    """
  private static let colours = ["#e8590c", "#4c6ef5", "#2f9e44", "#ae3ec9", "#868e96"]

  struct Bar {
    let name: String
    let value: Double
    let kind: String
  }

  /// Horizontal bars on a logarithmic scale.
  static func bars(_ title: String, _ bars: [Bar]) -> String {
    let left = 330.0
    let width = 760.0
    let most = max(bars.map(\.value).max() ?? 10, 10)
    let least = 0.5
    func x(_ value: Double) -> Double {
      left + (width - left - 90) * log(max(value, least) / least) / log(most / least)
    }
    var lines: [String] = []
    let height = Double(bars.count) * 24 + 50
    for power in 0...6 where pow(10, Double(power)) <= most {
      let at = x(pow(10, Double(power)))
      lines.append("<line class='grid' x1='\(text(at))' x2='\(text(at))' y1='34' y2='\(Int(height) - 10)'/>")
    }
    for (index, bar) in bars.enumerated() {
      let y = 40 + index * 24
      lines.append("<text x='\(Int(left) - 8)' y='\(y + 14)' text-anchor='end'>\(escaped(bar.name))</text>")
      lines.append(
        "<rect class='\(bar.kind)' x='\(Int(left))' y='\(y + 2)' height='16' width='\(text(x(bar.value) - left))'/>")
      lines.append("<text x='\(text(x(bar.value) + 6))' y='\(y + 14)'>\(number(bar.value))</text>")
    }
    return svg(title, width: width, height: height, lines)
  }

  /// Lines over steps that are the same distance apart, on a logarithmic scale.
  static func lines(
    _ title: String, steps: [String], axis: String, _ series: [(name: String, values: [Double])]
  ) -> String {
    let width = 760.0
    let height = 380.0
    let values = series.flatMap(\.values)
    let least = pow(10, (log10(values.min() ?? 1)).rounded(.down))
    let most = pow(10, (log10(values.max() ?? 10)).rounded(.up))
    func x(_ step: Int) -> Double { 60 + Double(step) * 500 / Double(max(steps.count - 1, 1)) }
    func y(_ value: Double) -> Double { 320 - 270 * log(value / least) / log(most / least) }
    var lines: [String] = []
    var power = least
    while power <= most * 1.01 {
      lines.append("<line class='grid' x1='60' x2='560' y1='\(text(y(power)))' y2='\(text(y(power)))'/>")
      lines.append("<text x='52' y='\(text(y(power) + 4))' text-anchor='end'>\(number(power))</text>")
      power *= 10
    }
    for (step, name) in steps.enumerated() {
      lines.append("<text x='\(text(x(step)))' y='342' text-anchor='middle'>\(name)</text>")
    }
    lines.append("<text x='310' y='366' text-anchor='middle'>\(axis)</text>")
    for (index, one) in series.enumerated() {
      let colour = colours[index % colours.count]
      let points = one.values.enumerated().map { "\(text(x($0))),\(text(y($1)))" }.joined(separator: " ")
      lines.append("<polyline class='line' stroke='\(colour)' points='\(points)'/>")
      lines.append("<rect x='590' y='\(50 + index * 24)' width='14' height='14' fill='\(colour)'/>")
      lines.append("<text x='612' y='\(62 + index * 24)'>\(escaped(one.name))</text>")
    }
    return svg(title, width: width, height: height, lines)
  }

  private static func svg(_ title: String, width: Double, height: Double, _ lines: [String]) -> String {
    """
    <svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 \(Int(width)) \(Int(height))' role='img'>
    <title>\(escaped(title))</title>
    \(style)
    <text x='10' y='20' font-weight='bold'>\(escaped(title))</text>
    \(lines.joined(separator: "\n"))
    </svg>

    """
  }

  private static func text(_ value: Double) -> String { String(format: "%.1f", value) }

  private static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
      .replacingOccurrences(of: "`", with: "")
  }
}

/// A number as a reader wants it: one decimal where it is small, thousands apart where it is large.
func number(_ value: Double) -> String {
  guard value.isFinite else { return "–" }
  if value < 100 { return String(format: "%.1f", value) }
  var digits = String(Int(value.rounded()))
  var index = digits.count - 3
  while index > 0 {
    digits.insert(",", at: digits.index(digits.startIndex, offsetBy: index))
    index -= 3
  }
  return digits
}

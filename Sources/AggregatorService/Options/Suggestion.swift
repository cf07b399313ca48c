/// What somebody may have meant who wrote a name that there is not.
package enum Suggestion {
  /// The name that is nearest to `text`; `nil` when none is near.
  package static func nearest(to text: String, among names: some Sequence<String>) -> String? {
    let limit = max(1, text.count / 3)
    return names.map { (name: $0, distance: distance(Array(text), Array($0))) }
      .filter { $0.distance <= limit }
      .min { ($0.distance, $0.name) < ($1.distance, $1.name) }?
      .name
  }

  /// How many characters have to be put in, left out, replaced, or exchanged with their neighbour, to make one of the other.
  static func distance(_ left: [Character], _ right: [Character]) -> Int {
    // Only beginnings of bounded length: names are short, and what is given may be anything.
    let left = left.prefix(64)
    let right = right.prefix(64)
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for (row, character) in left.enumerated() {
      var current = [row + 1]
      for (column, other) in right.enumerated() {
        var best = min(last[column + 1] + 1, current[column] + 1, last[column] + (character == other ? 0 : 1))
        if row > 0, column > 0, character == right[column - 1], left[row - 1] == other {
          best = min(best, beforeLast[column - 1] + 1)
        }
        current.append(best)
      }
      (beforeLast, last) = (last, current)
    }
    return last[right.count]
  }
}

import DequeModule

/// What the machine has to know of the message type to lay messages out in raw memory.
///
/// The machine is not generic over the message: it is compiled once, in this module, and costs a client of another module
/// no generic code off the hot path. Only the shell, which knows the type, writes messages and reads them.
struct MessageLayout: Sendable {
  let stride: Int
  let alignment: Int
  /// Moves messages between slots; the two ranges may overlap.
  let move: @Sendable (_ target: UnsafeMutableRawPointer, _ source: UnsafeMutableRawPointer, _ count: Int) -> Void

  init<Element>(of type: Element.Type) {
    stride = MemoryLayout<Element>.stride
    alignment = MemoryLayout<Element>.alignment
    move = { target, source, count in
      target.moveInitializeMemory(
        as: Element.self, from: source.assumingMemoryBound(to: Element.self), count: count)
    }
  }

  func slot(_ index: Int, of base: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    base + index &* stride
  }
}

/// Raw memory for a row of messages, and for what is kept beside each where that is needed.
struct Segment {
  /// What is kept beside a message.
  struct Tag {
    var weight: Int
    /// When it was accepted, on the aggregator's clock.
    var arrival: Duration
    /// Where messages can be withdrawn: what it is known by.
    ///
    /// Numbers rise in the order of acceptance.
    var number = 0
  }

  private(set) var base: UnsafeMutableRawPointer
  private(set) var capacity: Int
  private(set) var tags: UnsafeMutablePointer<Tag>?

  /// A segment starts with at most this much memory and doubles when it needs more: a large `batchSize` is a bound, and
  /// no reason to take all of it at once.
  static let initialBytes = 64 * 1024

  init(atMost limit: Int, layout: MessageLayout, tagged: Bool) {
    self.init(capacity: min(limit, max(Self.initialBytes / layout.stride, 8)), layout: layout, tagged: tagged)
  }

  init(capacity: Int, layout: MessageLayout, tagged: Bool) {
    self.capacity = capacity
    base = .allocate(byteCount: capacity * layout.stride, alignment: layout.alignment)
    tags = tagged ? .allocate(capacity: capacity) : nil
  }

  /// Makes room behind the messages in `range`, which come to lie at the start; returns by how much they moved.
  mutating func makeRoom(_ range: Range<Int>, layout: MessageLayout) -> Int {
    if range.lowerBound > 0, range.lowerBound >= range.count {
      layout.move(base, layout.slot(range.lowerBound, of: base), range.count)
      if let tags { tags.moveInitialize(from: tags + range.lowerBound, count: range.count) }
    } else {
      let larger = Segment(capacity: capacity * 2, layout: layout, tagged: tags != nil)
      layout.move(larger.base, layout.slot(range.lowerBound, of: base), range.count)
      if let tags, let target = larger.tags {
        target.moveInitialize(from: tags + range.lowerBound, count: range.count)
      }
      free()
      self = larger
    }
    return range.lowerBound
  }

  /// Brings the memory of a used segment, which must be empty, into the cache of the core that is going to fill it.
  ///
  /// A worker's core has its lines. If each were fetched by the first message that is stored into it, the next message's atomic
  /// exchange of the lock would wait for it to arrive; stores one after the other, as here, are under way together.
  func claim(_ layout: MessageLayout) {
    let end = min(capacity &* layout.stride, Self.mostClaimedBytes)
    var offset = 0
    while offset < end {
      (base + offset).storeBytes(of: 0, as: UInt8.self)
      offset &+= Self.cacheLine
    }
  }

  private static var cacheLine: Int { 64 }
  /// More would push out what else is in a first-level cache.
  private static var mostClaimedBytes: Int { 16_384 }

  /// Whether it is not much memory.
  func isSmall(stride: Int) -> Bool { capacity &* stride <= Self.mostBytesOfSmallOnes }

  static var mostBytesOfSmallOnes: Int { 4096 }

  /// Gives the memory back; the messages in it must have been moved out before.
  func free() {
    base.deallocate()
    tags?.deallocate()
  }
}

/// Segments that wait to be used again, oldest first: the caches of the core that freed one last still own its lines.
struct SegmentPool {
  private(set) var segments: Deque<Segment> = []
  /// The most that wait.
  var limit: Int

  init(limit: Int) {
    self.limit = limit
  }

  /// One for each slot and two, so that a steady state takes no new ones.
  ///
  /// Of small ones, of which all that there is room for may be full by turns, as many as are a page together.
  static func limit(_ settings: MachineSettings, _ layout: MessageLayout) -> Int {
    max(settings.concurrency + 2, min(settings.capacity, page / max(layout.stride, 1)) / settings.batchSize)
  }

  private static var page: Int { 4096 }

  mutating func take() -> Segment? {
    segments.popFirst()
  }

  mutating func give(_ segment: Segment) {
    if segments.count < limit {
      segments.append(segment)
    } else {
      segment.free()
    }
  }

  func free() {
    for segment in segments { segment.free() }
  }
}

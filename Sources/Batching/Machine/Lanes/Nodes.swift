/// Memory for one message of a by-key aggregator, and what is kept beside it.
///
/// Messages of one key lie in a chain and not in a row: ten thousand keys with a few messages each would need ten thousand
/// rows. So memory follows the messages that are held, whatever their keys.
struct Node: Equatable {
  /// What is kept beside a message, where it is.
  struct Tag {
    var weight: Int
    /// When it was accepted, on the aggregator's clock.
    var arrival: Duration
    var lane: Int
    /// The messages before and after it, of whatever key, whose batches have not started.
    var older: Node?
    var newer: Node?
  }

  let base: UnsafeMutableRawPointer

  /// The next in the chain.
  ///
  /// What it says of the last is undefined: a chain is known by its ends and its count.
  var next: Node {
    get { Node(base: base.load(as: UnsafeMutableRawPointer.self)) }
    nonmutating set { base.storeBytes(of: newValue.base, as: UnsafeMutableRawPointer.self) }
  }

  /// Only where nodes are tagged.
  var tag: Tag {
    get { tagPointer.pointee }
    nonmutating set { tagPointer.pointee = newValue }
  }

  var tagPointer: UnsafeMutablePointer<Tag> {
    (base + MemoryLayout<UnsafeMutableRawPointer>.stride).assumingMemoryBound(to: Tag.self)
  }

  func slot(_ layout: NodeLayout) -> UnsafeMutableRawPointer { base + layout.offset }
}

/// Where in a node its message lies.
struct NodeLayout: Sendable {
  let offset: Int
  let stride: Int
  let alignment: Int

  init(_ message: MessageLayout, tagged: Bool) {
    func roundUp(_ size: Int, _ alignment: Int) -> Int { (size + alignment - 1) / alignment * alignment }
    let link = MemoryLayout<UnsafeMutableRawPointer>.stride
    alignment = max(message.alignment, MemoryLayout<UnsafeMutableRawPointer>.alignment)
    offset = roundUp(tagged ? link + MemoryLayout<Node.Tag>.size : link, message.alignment)
    stride = roundUp(offset + message.stride, alignment)
  }
}

/// A row of nodes from one to another; of how many, its owner knows.
struct Chain {
  var first: Node
  var last: Node
}

/// Nodes that are in use or wait to be.
struct NodePool {
  let layout: NodeLayout
  private var free: Node?
  private var chunks: [UnsafeMutableRawPointer] = []
  /// The part of the newest chunk that was never in use.
  private var fresh: UnsafeMutableRawPointer?
  private var freshCount = 0

  init(layout: NodeLayout) {
    self.layout = layout
  }

  mutating func take() -> Node {
    if let node = free {
      let next = node.base.load(as: UnsafeMutableRawPointer?.self)
      free = next.map(Node.init)
      return node
    }
    guard freshCount > 0, let fresh else {
      // Small at first, then as much as a batch's segment.
      let count = max((chunks.isEmpty ? 4096 : Segment.initialBytes) / layout.stride, 8)
      let chunk = UnsafeMutableRawPointer.allocate(byteCount: count * layout.stride, alignment: layout.alignment)
      chunks.append(chunk)
      self.fresh = chunk
      freshCount = count
      return take()
    }
    self.fresh = fresh + layout.stride
    freshCount -= 1
    return Node(base: fresh)
  }

  /// Takes back a chain whose messages have been moved out.
  mutating func give(_ chain: Chain) {
    chain.last.base.storeBytes(of: free?.base, as: UnsafeMutableRawPointer?.self)
    free = chain.first
  }

  /// Gives the memory back; the messages in it must have been moved out before.
  func deallocate() {
    for chunk in chunks { chunk.deallocate() }
  }
}

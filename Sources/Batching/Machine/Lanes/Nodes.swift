/// Memory for a few messages of one key, or for one and what is kept beside it.
///
/// Messages of one key lie in a chain and not in a row: ten thousand keys with a few messages each would need ten thousand
/// rows. So memory follows the messages that are held, whatever their keys. There are several in a node, because the nodes
/// of a chain lie far apart, and each is a line to fetch.
struct Node: Equatable {
  /// What is kept beside a message, where it is.
  struct Tag {
    var weight: Int
    /// When it was accepted, on the aggregator's clock.
    var arrival: Duration
    var lane: Int
    /// The message after it in its batch.
    var nextInBatch: Node?
    /// The messages before and after it, of whatever key, whose batches have not started.
    var older: Node?
    var newer: Node?
  }

  let base: UnsafeMutableRawPointer

  /// The one before it in the chain.
  ///
  /// Chains go from the newest to the oldest, so that who appends a message need not touch the one before, which may have
  /// left the caches long ago. What it says of the oldest is undefined: a chain is known by its ends and its count.
  var older: Node {
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

}

/// Where in a node its messages lie.
struct NodeLayout: Sendable {
  /// Where the first is.
  let offset: Int
  /// From one to the next.
  let messageStride: Int
  /// Messages in a node less one: as their number is a power of two, the place of one in its node is the low bits of that
  /// in its batch.
  let mask: Int
  let stride: Int
  let alignment: Int

  private static let bytesOfMessages = 128

  init(_ message: MessageLayout, tagged: Bool) {
    func roundUp(_ size: Int, _ alignment: Int) -> Int { (size + alignment - 1) / alignment * alignment }
    let link = MemoryLayout<UnsafeMutableRawPointer>.stride
    alignment = max(message.alignment, MemoryLayout<UnsafeMutableRawPointer>.alignment)
    offset = roundUp(tagged ? link + MemoryLayout<Node.Tag>.size : link, message.alignment)
    messageStride = message.stride
    var count = 1
    if !tagged {
      while 2 * count * message.stride <= Self.bytesOfMessages { count *= 2 }
    }
    mask = count - 1
    stride = roundUp(offset + count * message.stride, alignment)
  }

  /// Where the message at a place in its batch lies, in its node.
  func slot(_ place: Int, in node: Node) -> UnsafeMutableRawPointer {
    node.base + offset + (place & mask) &* messageStride
  }
}

/// A row of nodes, each of which knows the one before; of how many, its owner knows.
struct Chain {
  var newest: Node
  var oldest: Node
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

  /// Memory that nodes are in, or may be in again.
  private(set) var bytes = 0

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
      bytes += count * layout.stride
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
    chain.oldest.base.storeBytes(of: free?.base, as: UnsafeMutableRawPointer?.self)
    free = chain.newest
  }

  /// Gives the memory back; the messages in it must have been moved out before.
  func deallocate() {
    for chunk in chunks { chunk.deallocate() }
  }
}

import Synchronization

/// A set that several tasks may use.
package final class LockedSet<Element: Hashable & Sendable>: Sendable {
  private let elements = Mutex<Set<Element>>([])

  package init() {}

  package func contains(_ element: Element) -> Bool {
    elements.withLock { $0.contains(element) }
  }

  package func insert(_ element: Element) {
    elements.withLock { _ = $0.insert(element) }
  }

  /// Returns whether it was there.
  @discardableResult
  package func remove(_ element: Element) -> Bool {
    elements.withLock { $0.remove(element) != nil }
  }

  package var all: Set<Element> { elements.withLock { $0 } }
}

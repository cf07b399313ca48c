#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A list of strings as C takes it, null behind the last one.
final class CStrings {
  let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>
  private let count: Int

  init(_ strings: [String]) {
    count = strings.count
    pointers = .allocate(capacity: count + 1)
    for (index, string) in strings.enumerated() { pointers[index] = UnsafePointer(strdup(string)) }
    pointers[count] = nil
  }

  deinit {
    for index in 0..<count { free(UnsafeMutablePointer(mutating: pointers[index])) }
    pointers.deallocate()
  }
}

/// The values of a statement as libpq takes them.
final class CParameters {
  let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>
  let lengths: [Int32]
  let formats: [Int32]
  private let count: Int

  init(_ parameters: [PostgresParameter]) {
    count = parameters.count
    pointers = .allocate(capacity: max(count, 1))
    var lengths: [Int32] = []
    var formats: [Int32] = []
    for (index, parameter) in parameters.enumerated() {
      switch parameter {
      case .text(let text):
        pointers[index] = UnsafePointer(strdup(text))
        lengths.append(0)
        formats.append(0)
      case .binary(let bytes):
        let copy = malloc(max(bytes.count, 1))
        bytes.withUnsafeBytes { source in
          if let start = source.baseAddress { _ = copy.map { memcpy($0, start, source.count) } }
        }
        pointers[index] = copy.map { UnsafePointer($0.assumingMemoryBound(to: CChar.self)) }
        lengths.append(Int32(bytes.count))
        formats.append(1)
      }
    }
    self.lengths = lengths
    self.formats = formats
  }

  deinit {
    for index in 0..<count { free(UnsafeMutablePointer(mutating: pointers[index])) }
    pointers.deallocate()
  }
}

import CPostgres

/// What a statement returned.
package struct PostgresResult: Sendable {
  /// The rows, each value as text; `nil` for null.
  package let rows: [[String?]]

  /// Copies a result of libpq.
  init(_ result: OpaquePointer?) {
    let columns = 0..<PQnfields(result)
    rows = (0..<PQntuples(result)).map { row in
      columns.map { column in
        PQgetisnull(result, row, column) == 1 ? nil : PQgetvalue(result, row, column).map { String(cString: $0) }
      }
    }
  }

  /// Of no statement.
  init() {
    rows = []
  }

  /// The first value of the first row.
  package var firstValue: String? { rows.first?.first ?? nil }
}

/// A value for `$1`, `$2`, ….
package enum PostgresParameter: Sendable {
  /// As text.
  case text(String)
  /// In the server's binary form.
  case binary([UInt8])
}

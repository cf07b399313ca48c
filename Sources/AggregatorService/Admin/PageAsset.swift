/// A file of the page, which is part of the program.
struct PageAsset: Sendable {
  let contentType: String
  let bytes: [UInt8]

  /// What is at this path; `nil` when nothing is.
  static func at(_ path: String) -> PageAsset? {
    switch path {
    case "/": PageAsset(contentType: "text/html; charset=utf-8", bytes: PackageResources.index_html)
    case "/page.css": PageAsset(contentType: "text/css; charset=utf-8", bytes: PackageResources.page_css)
    case "/page.js": PageAsset(contentType: "text/javascript; charset=utf-8", bytes: PackageResources.page_js)
    case "/chart.js": PageAsset(contentType: "text/javascript; charset=utf-8", bytes: PackageResources.chart_js)
    case "/format.js": PageAsset(contentType: "text/javascript; charset=utf-8", bytes: PackageResources.format_js)
    case "/icon.svg": PageAsset(contentType: "image/svg+xml", bytes: PackageResources.icon_svg)
    default: nil
    }
  }
}

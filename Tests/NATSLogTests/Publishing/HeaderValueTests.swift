import Testing

@testable import NATSLog

@Suite("Values of headers")
struct HeaderValueTests {
  @Test(arguments: [
    ("order-17", "order-17"), ("a b", "a%20b"), ("100%", "100%25"), ("é\r\n", "%C3%A9%0D%0A"), ("", ""),
  ])
  func `any text can stand in a header, and comes back`(text: String, header: String) {
    #expect(HeaderValue.encoded(text) == header)
    #expect(HeaderValue.decoded(header) == text)
  }

  @Test(arguments: ["%", "%4", "%zz", "%FF"])
  func `what nobody has encoded is not decoded`(header: String) {
    #expect(HeaderValue.decoded(header) == nil)
  }
}

/// A certificate that signs itself, for localhost and 127.0.0.1, until 2126; its key; and a key that is not its own.
enum Certificates {
  static let certificate = """
    -----BEGIN CERTIFICATE-----
    MIIBmzCCAUGgAwIBAgIUAoslwnAvNPkOxu78SRuChBB3eiwwCgYIKoZIzj0EAwIw
    FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTA3Mzg0N1oYDzIxMjYxMTAx
    MDczODQ3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
    PQMBBwNCAATidn9stAXjPj2psMXdFK33XZf3BRbJGilwQDAeYcVkSKQxbwt1pISZ
    nqlRYQX8qNVpibwnj6FII2HfPTlrMi56o28wbTAdBgNVHQ4EFgQU6mbYf82yIuuO
    VtZcSvqIYFzroYEwHwYDVR0jBBgwFoAU6mbYf82yIuuOVtZcSvqIYFzroYEwDwYD
    VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
    zj0EAwIDSAAwRQIhAIXjRVdJ9sLxfNsR2sxvU2eC49AxoXocVCcwqZ6aG8ZbAiBC
    sBrossogE8lwj26xpbjqVj5/Xvcrrr1AewCLYR7/Tw==
    -----END CERTIFICATE-----
    """

  static let key = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEs9KzKuaHwj80hnW
    /Omis5qVwxSjCP9ilayb8TigRBGhRANCAATidn9stAXjPj2psMXdFK33XZf3BRbJ
    GilwQDAeYcVkSKQxbwt1pISZnqlRYQX8qNVpibwnj6FII2HfPTlrMi56
    -----END PRIVATE KEY-----
    """

  static let otherKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjAhwCIe9LFgHs1oz
    BrLZmTOAcAU72t06uYREVJ51SXGhRANCAARNUXsr+JQck8StEvmlLM47LVvJABGk
    y2heZ3XaN43n2YABqpClykwNimC46Cs7fdz7pIuyjkbvtJOOKQ3rJlKw
    -----END PRIVATE KEY-----
    """
}

"""A test authority: issues good and deliberately odd certificates. No CA for real mail.

Rules: it may read the clock and write files, which the packages below it may not; only `service`
has a socket, on loopback. A key of `pool` is everybody's and of no worth; what `CA` makes is not.
"""

"""SMTP in, Graph out: for devices and programs that speak nothing but SMTP.

A message is sealed as it comes in, stored in the outbox, and answered 250 only then: from there on
the outbox's rules hold (see `graph.outbox`). What is refused is refused while its sender listens.

- What comes in is hostile: its size, its lines, its time, its connections and its commands are
  bounded. A browser that is made to talk to the port is hung up on.
- Graph knows no envelope. Who stands in it and in no header becomes Bcc, and gets a copy that
  nobody else is named in; a header that names others is refused, as Graph would send to them.
- A message that comes again, because its answer was lost, is the same message: its Message-ID, and
  those of its copies, are what they were. Another one with a Message-ID that was used is refused.
- Whoever is not on this machine has to sign in, under TLS.
- No password and no content of a message is in a log; what aiosmtpd would log is not.

`session` is the one module that knows aiosmtpd, which the extra `smtp` brings.
"""

"""The test harness: judges certificates, other people's software and stores of certificates.

What one certificate is worth to whom is a pure function of its bytes; the drivers of peers start
processes and read files. Rules: what is wrong is said with the rule that says so; what a peer did
is what it was seen to do.
"""

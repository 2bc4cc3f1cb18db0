"""Certificates: whose they are, whether to believe them, and the test authority that issues them.

Rules of this package: no network (evidence is given as bytes), no clock (`at` is an argument). The
certificate itself is `smime_graph.x509.certificate.Certificate`. What is noticed is a `Finding`;
nothing stops at the first.
"""

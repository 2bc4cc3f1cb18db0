"""Cryptographic Message Syntax (RFC 5652 and kin): bytes to bytes.

Rules of this package: no MIME, no files, no network, no clock (time is an argument). What is
written is written by `ber` in DER; what is read is read by `ber` as slices of the bytes received,
and nothing that was signed is ever encoded again. An algorithm is looked up in
`smime_graph.algorithms`, never compared by name.
"""

"""ASN.1: DER is written, BER and DER are read (X.690).

Rules: a value read is offsets into the octets that were received, never a copy that was encoded
anew; depth, size and count are bounded; what is behind a value is an error. Imports nothing of the
package but `errors`.
"""

"""X.509: certificates and names as they are written (RFC 5280), whoever they belong to.

Rules: nothing is judged here; a certificate is its DER and what is read of it when it is asked for;
names are compared in one place.
"""

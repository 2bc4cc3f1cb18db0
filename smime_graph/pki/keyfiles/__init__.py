"""Files that hold keys: PKCS #12 (RFC 7292), PKCS #8 (RFC 5958), PEM, PBES (RFC 8018)."""

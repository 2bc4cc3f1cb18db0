"""Keys on tokens: PKCS #11 modules and their URIs (RFC 7512). Needs the extra `hsm`."""

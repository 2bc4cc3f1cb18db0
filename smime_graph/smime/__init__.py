"""S/MIME (RFC 8551): MIME around CMS.

Rules of this package: `entity` is the one place that changes a line end or a transfer encoding, and
it does so before anything is signed; what was signed or will be is carried as bytes and never
written again by `email`. No files, no network; the clock is read only where the caller gives no
time.
"""

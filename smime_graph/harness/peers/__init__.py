"""Other implementations of S/MIME, a module each: how they are driven, and how they differ.

The harness asks them about certificates, and `tests/interop` about algorithms.
"""

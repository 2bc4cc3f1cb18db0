"""What needs both S/MIME and Graph: what is checked before a send, what is read back after it.

Rules: what `send` refuses, the pre-flight refuses, by the same code; a message that arrived is
handed on at least once, and whoever gets it twice is told so.
"""

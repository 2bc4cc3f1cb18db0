"""Whether octets are DER: what is written must be, what is read need not."""

from __future__ import annotations

from smime_graph.asn1.ber import CONSTRUCTED, MAX_DEPTH, SEQUENCE, SET, Node, header


def is_der(node: Node) -> bool:
    """Whether this is DER: definite minimal lengths, primitive strings, sorted SET OF."""
    stack = [(node, 0)]
    while stack:
        node, depth = stack.pop()
        if not node.is_definite or depth > MAX_DEPTH:
            return False
        length = node.stop - node.body
        if node.body - node.start != len(header(0, length)) and node.tag < 0x100:
            return False
        if not node.tag & CONSTRUCTED:
            continue
        if node.tag < 0x40 and node.tag not in (SEQUENCE, SET):
            return False  # a constructed string
        children = list(node)
        if node.tag == SET and (raws := [c.raw for c in children]) != sorted(raws):
            return False
        stack += [(child, depth + 1) for child in children]
    return True

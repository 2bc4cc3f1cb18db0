"""A process that does what it is handed on its standard input, until that ends."""

from __future__ import annotations

import os
import pickle
import sys


def main() -> None:
    """Read (function, arguments), write (whether it raised, what)."""
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints must not be taken for a result
    while True:
        try:
            function, arguments, keywords = pickle.load(sys.stdin.buffer)  # noqa: S301 - our maker's
        except EOFError:
            return  # whoever made us is done, or is no more
        try:
            answer = (False, function(*arguments, **keywords))
        except Exception as error:  # noqa: BLE001 - it is raised on the other side
            answer = (True, error)
        try:
            pickle.dump(answer, results)
            results.flush()
        except BrokenPipeError:
            os._exit(1)  # it was killed


if __name__ == "__main__":
    main()

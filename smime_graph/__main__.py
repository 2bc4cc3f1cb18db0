"""`python -m smime_graph` is `smime-graph`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

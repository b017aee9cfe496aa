"""`python -m yolomask detect|demo|evaluate|fetch|report ...`, also installed as `yolomask`."""

import sys

from .commands import main

if __name__ == "__main__":
    sys.exit(main())

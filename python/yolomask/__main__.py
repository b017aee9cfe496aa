"""`python -m yolomask detect|convert|evaluate|...`, also installed as `yolomask`."""

import sys

from .commands import main

if __name__ == "__main__":
    sys.exit(main())

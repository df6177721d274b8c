"""`python -m runner`."""

import os
import sys

try:
    from runner.cli import main
except KeyboardInterrupt:  # Ctrl-C while Python is still importing: nothing has begun, and a traceback says nothing
    sys.stderr.flush()
    os._exit(130)

if __name__ == "__main__":
    main()

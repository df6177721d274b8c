"""`python -m runner`."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # defence: OWN_LIBRARIES
    del sys.path[0]  # the current directory: a queue.py or an httpx.py there is not the one that we import

try:
    from runner.cli import main
except KeyboardInterrupt:  # Ctrl-C while Python is still importing: nothing has begun, and a traceback says nothing
    sys.stderr.flush()
    os._exit(130)

if __name__ == "__main__":
    main()

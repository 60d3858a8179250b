"""``python -m book.deploy COMMAND``: faults [NAME ...], scale [CLIENTS ...], message, folders FOLDER LANGUAGE ...."""

import signal
import sys
from pathlib import Path

COMMANDS = ("faults", "scale", "message", "folders")

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    command, *rest = sys.argv[1:] or [""]
    if command == "faults":
        from .faults import try_all

        try_all(rest)
    elif command == "scale":
        from .scale import measure as measure_sizes

        measure_sizes([int(number) for number in rest or (10, 100, 1000)])
    elif command == "message":
        from .message import measure

        measure()
    elif command == "folders" and len(rest) > 1:
        from .folders import write_folders

        print(write_folders(Path(rest[0]), tuple(rest[1:])))
    else:
        sys.exit(f"python -m book.deploy {command}: expected one of {', '.join(COMMANDS)}; {__doc__}")

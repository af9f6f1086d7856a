"""`ernie-tiny` as `python -m ernie_tiny.cli`, or by the path of this file from a checkout that is not installed."""

import sys
from pathlib import Path

if not __package__:  # started by its path, which put this folder in front of all others
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from ernie_tiny.cli.command import main

if __name__ == "__main__":
    main()

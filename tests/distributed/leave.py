"""Processes that leave while their watchers look at the store all the time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.runtime import prepare


def main() -> None:
    prepare("cpu", threads=1)
    from ernie_tiny import processes

    processes.LOOK_EVERY = 1.0e-5
    with processes.Connection():
        processes.wait_for_all()
        time.sleep(0.2)


if __name__ == "__main__":
    main()

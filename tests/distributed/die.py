"""Two processes; the second raises, kills itself or its launcher while the first waits in a collective.

python die.py raise|process|launcher PIDS: the folder PIDS gets a file named after each process.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.runtime import prepare


def main() -> None:
    how, pids = sys.argv[1], Path(sys.argv[2])
    pids.mkdir(parents=True, exist_ok=True)
    (pids / str(os.getpid())).touch()
    prepare("cpu", threads=1)
    from ernie_tiny import processes

    with processes.Connection():
        processes.wait_for_all()
        if processes.rank() == 1:
            if how == "raise":
                raise RuntimeError("a fault in one process")
            os.kill(os.getpid() if how == "process" else os.getppid(), signal.SIGKILL)
            signal.pause()
        processes.total([1])


if __name__ == "__main__":
    main()

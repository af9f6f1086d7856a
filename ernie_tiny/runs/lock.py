"""One process a run folder."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ernie_tiny.errors import InputError

LOCK_FILE = "run.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system says that has none
logger = logging.getLogger(__name__)


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds a run's folder for this process.

    The lock is the system's (flock), which frees it when the process ends, however it ends: a reused process id
    cannot be mistaken for its holder. The file says who holds it and is empty after an orderly end.

    Raises:
        InputError: a living process holds it; names its id, host and start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+", encoding="utf-8") as stream:
        stream.seek(0)
        holder = stream.read()
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: {holder or 'another process'} works in it. Wait until it ends, stop it with kill and its "
                "number on that host, or give -o output_dir=ANOTHER."
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            may = f": {holder} may" if holder else ""
            logger.warning(
                "%s: this file system has no locks. See to it that no other process works in it%s.", folder, may
            )
        else:
            if holder:
                logger.warning("%s: taken over from %s, which has ended without freeing it.", folder, holder)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)

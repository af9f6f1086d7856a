"""How a worker is asked: a line of JSON in, a line of JSON out. Both frameworks' workers use it; it needs neither."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Callable

SIDE = 2048  # of the square matrices whose product shows the peak
PRODUCTS = 5


def serve(make: Callable[[], Mapping[str, Callable[..., Any]]]) -> None:
    """Answers until the input ends: {"do": name, ...} is `name(...)`. What libraries print goes to the log."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    commands = make()
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(commands[asked.pop("do")](**asked)), file=answers, flush=True)


def peak(product: Callable[[], Any]) -> float:
    """FLOPs a second of a product of two square matrices of SIDE, the best of some."""
    seconds = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds)


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

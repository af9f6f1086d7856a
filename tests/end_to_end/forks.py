"""Runs tools/train.py in processes that end early: killed, told to stop, or without room on the disk.

python forks.py SPEC, where SPEC is JSON with
    whole, killed, troubled: arguments of tools/train.py for three folders; the last may be missing;
    kills, seed: how often the run of `killed` is killed before it may end;
    troubles: [moment, action] of the runs of `troubled`, before the one that may end.
A moment is the opening of a file for writing, or a renaming, in the run's folder, as the undisturbed run has them:
"open stages/distil/.checkpoint-2.partial/state.json". Kills come at moments drawn from those that are still to come, so
that they spread over the whole run; every second one comes up to DELAY seconds later. Prints the moments of the kills
and the exit codes of the troubles, and on standard error what the processes say, each behind a line SEPARATOR.
Paddle is imported once: each process is a fork of this one, which computes nothing.
"""

from __future__ import annotations

import json
import os
import random
import resource
import runpy
import signal
import sys
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[2]
SEPARATOR = "=== a process"
DELAY = 0.1
LARGEST_FILE = 64  # bytes, where the disk is to look full
WRITES = os.O_WRONLY | os.O_RDWR


def main() -> None:
    spec = json.loads(sys.argv[1])
    prepare_parent()
    code, moments = fork(spec["whole"])
    if code:
        sys.exit("the undisturbed run failed")
    killed = kill(spec["killed"], [moment for moment in moments if moments.count(moment) == 1], spec["kills"],
                  random.Random(spec["seed"]))  # fmt: skip
    codes = [fork(spec["troubled"], moment, ACTIONS[action])[0] for moment, action in spec["troubles"]]
    if spec["troubles"]:
        codes.append(fork(spec["troubled"])[0])
    print(json.dumps({"moments": killed, "codes": codes}))


def prepare_parent() -> None:
    sys.path.insert(0, str(ROOT))
    from ernie_tiny.runtime import prepare

    prepare("cpu", threads=1)
    import ernie_tiny.runs.pipeline  # noqa: F401


def kill(arguments: list[str], moments: list[str], kills: int, draw: random.Random) -> list[str]:
    """Kills a run so often, then lets it end; the moments when."""
    killed: list[str] = []
    while len(killed) < kills:
        remaining = kills - len(killed)
        room = len(moments) - remaining  # so that a moment is left for each kill
        if room < 0:
            sys.exit(f"a run of so few moments cannot be killed {kills} times")
        place = int(draw.uniform(0, 2 * len(moments) / remaining))
        delay = draw.uniform(0.001, DELAY) if len(killed) % 2 and room > remaining else 0.0
        moment = moments[min(place, room)]
        code, seen = fork(arguments, moment, lambda delay=delay: end(delay))
        if code not in (-signal.SIGKILL, -signal.SIGALRM):
            break  # it was done before the delay was over
        killed.append(moment)
        moments = [moment for moment in moments if moment not in seen]
    if fork(arguments)[0]:
        sys.exit("a run that was killed did not go on")
    return killed


def end(delay: float) -> None:
    """Ends this process, now or later, without a word to Python: that is an alarm's default action too."""
    if delay:
        signal.setitimer(signal.ITIMER_REAL, delay)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


ACTIONS: dict[str, Callable[[], None]] = {
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "SIGINT": lambda: os.kill(os.getpid(), signal.SIGINT),
    "full disk": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, resource.RLIM_INFINITY)),
}


def fork(arguments: list[str], moment: str = "", action: Callable[[], None] = lambda: None) -> tuple[int, list[str]]:
    """A process from its start to its end: the exit code, negative for a signal, and its moments up to the last."""
    print(SEPARATOR, file=sys.stderr, flush=True)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        os.dup2(2, 1)
        folder = next(item for item in arguments if item.startswith("output_dir=")).partition("=")[2]
        watch(folder, write, moment, action)
        sys.argv = ["tools/train.py", *arguments]
        runpy.run_path(str(ROOT / "tools/train.py"), run_name="__main__")
        sys.exit()
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as stream:
        moments = stream.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), moments


def watch(folder: str, report: int, target: str, action: Callable[[], None]) -> None:
    """Reports each moment of this process, and acts just before the target.

    Once: Python 3.9 reports the opening of a file by pathlib twice, and a second signal would mean more than the first.
    """
    actions = [action]

    def look(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            path, writes = given[0], bool(given[2] & WRITES)
        elif event == "os.rename":
            path, writes = given[1], True
        else:
            return
        place = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if writes and place.startswith(folder + os.sep):
            moment = f"{event} {place[len(folder) + 1 :]}"
            if moment == target and actions:
                actions.pop()()
            os.write(report, f"{moment}\n".encode())

    sys.addaudithook(look)


if __name__ == "__main__":
    main()

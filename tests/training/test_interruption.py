"""SIGTERM and Ctrl-C end a run in order, a second one at once. Each case is a process of its own, forked off."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from typing import Callable

import pytest

from ernie_tiny.training.interruption import REPEAT, Interruption

BOTH = pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])


def run(body: Callable[[Interruption], None]) -> tuple[int, str]:
    """Exit code, negative for a signal, and output of a process that runs this inside an interruption."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            code = 1
            try:
                with Interruption() as interruption:
                    body(interruption)
                code = 0
            except SystemExit as error:
                code = int(error.code or 0)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


def send(name: str) -> None:
    os.kill(os.getpid(), signal.Signals[name])
    time.sleep(0.001)  # Python handles it at one of its next instructions


@BOTH
def test_while_a_stage_trains_the_step_ends_first(name: str, code: int) -> None:
    def body(interruption: Interruption) -> None:
        with interruption.deferred():
            send(name)
            os.write(1, b"the step ends\n")
            if interruption.received is not None:
                interruption.leave("Stopped after step 3 of distil")

    found, output = run(body)
    assert found == code
    noted, ended, left = output.strip().splitlines()
    assert name in noted and "second signal" in noted
    assert (ended, left) == ("the step ends", f"{name}: Stopped after step 3 of distil. {REPEAT}")


@BOTH
def test_at_any_other_time_the_run_leaves_at_once_and_in_order(name: str, code: int) -> None:
    def body(interruption: Interruption) -> None:
        try:
            send(name)
            os.write(1, b"not reached")
        finally:
            os.write(1, b"cleaned up\n")

    assert run(body) == (code, f"cleaned up\n{name}: Stopped; what is finished is kept. {REPEAT}\n")


def test_a_signal_that_comes_too_late_for_the_last_step_leaves_behind_it() -> None:
    def body(interruption: Interruption) -> None:
        with interruption.deferred():
            send("SIGTERM")
        os.write(1, b"not reached")

    found, output = run(body)
    assert found == 143 and "not reached" not in output


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_the_process_where_it_stands(second: str) -> None:
    def body(interruption: Interruption) -> None:
        with interruption.deferred():
            send("SIGTERM")
            send(second)
            os.write(1, b"not reached")

    found, output = run(body)
    assert found == -signal.Signals[second] and "not reached" not in output


def test_a_process_that_got_no_signal_itself_leaves_with_the_others() -> None:
    assert run(lambda interruption: interruption.leave("Stopped"))[0] == 143


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with Interruption():
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

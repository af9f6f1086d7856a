"""A run folder has one process; what a process that died has left is taken over."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ernie_tiny.errors import InputError
from ernie_tiny.runs.lock import LOCK_FILE, run_lock

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from ernie_tiny.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen]:
    """A process that holds a folder until its input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process


def test_a_folder_of_a_living_process_is_refused_by_its_number_host_and_start(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as process:
        with pytest.raises(InputError) as error, run_lock(tmp_path / "run"):
            pass
        assert f"process {process.pid} on {socket.gethostname()} since 20" in str(error.value)
        assert "output_dir" in str(error.value)


def test_a_folder_of_a_killed_process_is_taken_over_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    with run_lock(tmp_path):
        assert f"taken over from process {process.pid}" in caplog.text
        assert f"process {os.getpid()} on" in (tmp_path / LOCK_FILE).read_text(encoding="utf-8")


def test_after_an_orderly_end_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with holder(tmp_path):
        pass
    with pytest.raises(ValueError), run_lock(tmp_path):
        raise ValueError
    with run_lock(tmp_path):
        assert caplog.text == ""


def test_a_reused_process_number_is_no_holder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f"process {os.getpid()} on another-host since 2026-01-01 00:00:00"
    (tmp_path / LOCK_FILE).write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING), run_lock(tmp_path):
        assert f"taken over from {text}" in caplog.text


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_lock(tmp_path):
        assert "has no locks" in caplog.text
        said = f"no other process works in it: process {os.getpid()} on "
        with run_lock(tmp_path):
            assert said in caplog.text and "taken over" not in caplog.text

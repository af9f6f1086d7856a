"""Two launchers on one machine as two hosts: equal to one process, killed on one side, resumed to the same weights."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.distributed.test_processes import ROOT, free_port
from tests.distributed.test_sharding import SHARD, difference, train

PATIENCE = 120.0  # seconds for two launchers, of which one may have lost the other


def own_address() -> str:
    """This machine's address as Paddle's launcher finds it, where processes may listen and reach each other."""
    try:
        address = socket.gethostbyname(socket.getfqdn(socket.gethostname()))
        with socket.create_server((address, 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
            return address
    except OSError as error:
        pytest.skip(f"no two hosts on this machine: {error}")


def two_hosts(folder: Path, *failure: str) -> tuple[list[int], float, str]:
    """Exit codes of two launchers, a process each; the seconds; what both and their processes have said."""
    master, begin = f"{own_address()}:{free_port()}", time.monotonic()
    launchers = []
    for rank in ("0", "1"):
        command = [sys.executable, "-m", "paddle.distributed.launch", "--master", master, "--nnodes", "2"]
        command += ["--rank", rank, "--nproc_per_node", "1", "--log_dir", str(folder / f"log{rank}")]
        command += [str(SHARD), str(folder), "optimizer", *failure]
        with (folder / f"host.{rank}").open("a", encoding="utf-8") as output:
            launchers.append(subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True))
    try:
        codes = [launcher.wait(PATIENCE) for launcher in launchers]
    finally:
        for launcher in launchers:
            if launcher.poll() is None:
                os.killpg(launcher.pid, signal.SIGKILL)
    said = [*folder.glob("host.*"), *folder.glob("log*/workerlog.*")]
    return codes, time.monotonic() - begin, "".join(file.read_text("utf-8", "replace") for file in said)


def test_two_hosts_are_one_process_are_killed_on_one_side_and_go_on(tmp_path: Path) -> None:
    for name in ("alone", "whole"):
        (tmp_path / name).mkdir()
    alone, folder = train(1, tmp_path / "alone", "none")[0], tmp_path / "whole"
    codes, seconds, said = two_hosts(folder, "1")
    assert all(codes) and seconds < PATIENCE, said
    assert "gloo" in said and "RuntimeError" in said, said  # a lost peer or a timeout, by the host that is left
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-3"]
    codes, _, said = two_hosts(folder)
    assert codes == [0, 0], said
    for rank in (0, 1):
        assert difference(dict(np.load(folder / f"weights.{rank}.npz")), alone) < 1e-6

"""A server of tools/serve.py in a process of its own, and questions to it byte by byte."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 2.0  # that the server gives a request to come in, and an answer to be made
LATE = SECONDS + 8.0  # on a machine that others use too
MEGABYTE = 1_000_000
TOKEN = "secret"


class Served(NamedTuple):
    """A server that runs, and the folder that it answers with as the model news."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    log: Path

    def megabytes(self) -> float:
        """Of its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


@contextmanager
def serving(folder: Path, log: Path, *options: str) -> Iterator[Served]:
    """tools/serve.py in a process of its own, at a port that the system chose."""
    command = [sys.executable, "tools/serve.py", "--models", f"news={folder}", "--port", "0", *options]
    environment = {**os.environ, "ERNIE_TINY_TOKEN": TOKEN}
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=file)
    try:
        until = time.monotonic() + 120
        while not (address := next((entry["address"] for entry in entries(log) if "address" in entry), "")):
            assert process.poll() is None and time.monotonic() < until, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        yield Served(process, int(address.rpartition(":")[2]), folder, log)
    finally:
        process.kill()
        process.wait()


def entries(log: Path) -> list[dict]:
    """What the server has logged so far."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines(True) if line.endswith("}\n")]


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=3 * LATE)


def head(*lines: str, path: str = "/v1/news/predict") -> bytes:
    """Of a request with a body."""
    given = [f"POST {path} HTTP/1.1", "Host: here", f"Authorization: Bearer {TOKEN}", *lines]
    return "\r\n".join([*given, "", ""]).encode()


def request(body: object, path: str = "/v1/news/predict") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(f"Content-Length: {len(content)}", path=path) + content


def receive(stream: socket.socket) -> Optional[Answer]:
    """The next answer, and not a byte of the one after it; None where the connection ended without one."""
    top = b""
    while not top.endswith(b"\r\n\r\n"):
        part = stream.recv(1)
        if not part:
            assert not top
            return None
        top += part
    status, *fields = top.decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    body = b""
    while missing := int(headers["content-length"]) - len(body):
        body += stream.recv(missing)
    return Answer(int(status.split()[1]), headers, body)


def ask(stream: socket.socket, raw: bytes) -> Answer:
    """The answer to what is sent, in time."""
    began = time.monotonic()
    stream.sendall(raw)
    answer = receive(stream)
    assert answer is not None and time.monotonic() - began < LATE
    return answer

"""Asks an HTTP server, request after request over kept connections, and prints what came back as JSON.

Sockets and epoll, no HTTP library: on a machine that server and client share, what the client costs is taken from the
server. Its own processor time is among what is printed.

    python benchmarks/serving/load.py --port 8000 --path /v1/tnews/predict --bodies bodies.jsonl --seconds 30
"""

from __future__ import annotations

import argparse
import itertools
import json
import selectors
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

PATIENCE = 60.0  # seconds after the last question in which answers may still come
PAUSE = 0.2  # seconds that a connection waits after 429: less than Retry-After asks, to keep the server full
CHUNK = 1 << 18


@dataclass
class Connection:
    """One client: a question is under way, or it is silent."""

    stream: socket.socket
    asked_at: Optional[float] = None
    came: bytearray = field(default_factory=bytearray)


@dataclass
class Found:
    """What came back.

    Attributes:
        statuses: Of answers, by status.
        lost: Questions whose connection ended without an answer.
        seconds: Of the answers with status 200, from the question's first byte to the answer's last.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    seconds: list[float] = field(default_factory=list)


def whole_answer(came: bytearray) -> Optional[tuple[int, bool]]:
    """Status of an answer that has come in whole, and whether the connection stays; None while bytes are missing."""
    end = came.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(came[:end]).lower()
    length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    if len(came) < end + 4 + int(length):
        return None
    return int(head[9:12]), b"\r\nconnection: close" not in head


class Load:
    """Connections that each ask the next of some requests as soon as they have an answer."""

    def __init__(self, host: str, port: int, requests: Sequence[bytes], connections: int) -> None:
        self._requests, self._found = itertools.cycle(requests), Found()
        self._selector = selectors.DefaultSelector()
        self._waiting: list[tuple[float, Connection]] = []  # those that got 429
        self._open = [Connection(socket.create_connection((host, port))) for _ in range(connections)]
        for connection in self._open:
            connection.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection.stream, selectors.EVENT_READ, connection)

    def run(self, seconds: float) -> Found:
        """Asks for so many seconds, then waits for what is under way."""
        end = time.monotonic() + seconds
        for connection in list(self._open):
            self._ask(connection)
        while time.monotonic() < end + PATIENCE and self._open:
            asking = time.monotonic() < end
            if not asking and not any(connection.asked_at for connection in self._open):
                break
            for key, _ in self._selector.select(0.05):
                self._receive(key.data, asking)
            if asking and self._waiting and self._waiting[0][0] <= time.monotonic():
                self._ask(self._waiting.pop(0)[1])
        self._found.lost += sum(connection.asked_at is not None for connection in self._open)
        return self._found

    def _ask(self, connection: Connection) -> None:
        connection.asked_at = time.perf_counter()
        try:
            connection.stream.sendall(next(self._requests))  # smaller than the socket's buffer
        except OSError:
            self._end(connection)

    def _receive(self, connection: Connection, asking: bool) -> None:
        try:
            part = connection.stream.recv(CHUNK)
        except OSError:
            part = b""
        if not part:
            self._end(connection)
            return
        connection.came += part
        answer = whole_answer(connection.came)
        if answer is None or connection.asked_at is None:
            return
        status, stays = answer
        self._found.statuses[status] += 1
        if status == 200:
            self._found.seconds.append(time.perf_counter() - connection.asked_at)
        connection.asked_at = None
        connection.came.clear()
        if not stays:
            self._end(connection)
        elif status == 429:
            self._waiting.append((time.monotonic() + PAUSE, connection))
        elif asking:
            self._ask(connection)

    def _end(self, connection: Connection) -> None:
        if connection in self._open:
            self._found.lost += connection.asked_at is not None
            self._selector.unregister(connection.stream)
            connection.stream.close()
            self._open.remove(connection)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--bodies", type=Path, required=True, help="file with a request's body a line, asked in turn")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    head = f"POST {args.path} HTTP/1.1\r\nHost: {args.host}:{args.port}\r\nContent-Type: application/json\r\n"
    bodies = args.bodies.read_bytes().splitlines()
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
    load = Load(args.host, args.port, requests, args.connections)
    began, processor = time.perf_counter(), time.process_time()
    found = load.run(args.seconds)
    record = {
        "statuses": {str(status): count for status, count in sorted(found.statuses.items())},
        "lost": found.lost,
        "took_seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time() - processor,
        "seconds": found.seconds,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()

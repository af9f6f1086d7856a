"""The load on the server: what its client counts, and the report of a few seconds of it."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.serving import load, under_load
from ernie_tiny.data.clue import find_task
from ernie_tiny.serving.export import export_model
from tests.serving.test_export import TOKENIZER, build

STATUSES = {b"answered": 200, b"too many": 429, b"broken": 500}


class Answers(BaseHTTPRequestHandler):
    """By a request's body one of STATUSES, or the connection's end."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        if asked not in STATUSES:
            self.close_connection = True
            return
        self.send_response(STATUSES[asked])
        self.send_header("Content-Length", str(len(asked)))
        self.end_headers()
        self.wfile.write(asked)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def asked(port: int, *bodies: bytes, connections: int = 2) -> load.Found:
    requests = [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body for body in bodies]
    return load.Load("127.0.0.1", port, requests, connections).run(0.5)


def test_answers_and_errors_are_counted_by_status(port: int) -> None:
    found = asked(port, b"answered", b"broken", b"answered")
    assert set(found.statuses) == {200, 500} and found.lost == 0
    assert found.statuses[500] == pytest.approx(found.statuses[200] / 2, abs=2)
    assert len(found.seconds) == found.statuses[200] and 0 < min(found.seconds) < 0.5


def test_who_has_no_room_waits_before_it_asks_again(port: int) -> None:
    found = asked(port, b"too many")
    assert set(found.statuses) == {429} and 2 <= found.statuses[429] <= 2 * (1 + 0.5 / load.PAUSE)


def test_a_question_whose_connection_ends_is_lost(port: int) -> None:
    found = asked(port, b"answered", b"gone", connections=1)
    assert (dict(found.statuses), found.lost) == ({200: 1}, 1)


def test_an_answer_is_whole_when_its_last_byte_is_there() -> None:
    whole = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    assert all(load.whole_answer(bytearray(whole[:size])) is None for size in range(len(whole)))
    assert load.whole_answer(bytearray(whole)) == (503, False)
    assert load.whole_answer(bytearray(whole.replace(b"close", b"keep-alive"))) == (503, True)


def test_errors_are_what_is_neither_answered_nor_without_room() -> None:
    assert under_load.errors({"statuses": {"200": 9, "429": 5}, "lost": 0}) == 0
    assert under_load.errors({"statuses": {"200": 9, "429": 5, "500": 2, "408": 1}, "lost": 4}) == 7


def test_the_process_alone_is_prepared_before_it_imports_paddle() -> None:
    assert under_load.ALONE.index("prepare(") < under_load.ALONE.index("from ernie_tiny import Predictor")


def test_a_server_that_does_not_come_up_is_ended_and_its_log_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: str) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(under_load.urllib.request, "urlopen", refused)
    monkeypatch.setattr(under_load.time, "sleep", lambda _: None)
    server = under_load.Server(Namespace(model=tmp_path, threads=1, engine="paddle", precision="float32"))
    server._log.write_text("reads weights", encoding="utf-8")
    with pytest.raises(SystemExit, match="did not come up within a minute; its log:\nreads weights"), server:
        pass
    assert server._process.poll() is not None and not server._log.exists()


def test_a_few_seconds_of_load_give_a_report(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    export_model(build("tnews"), find_task("tnews"), TOKENIZER, 24, tmp_path)
    asked = Namespace(model=tmp_path, seconds=2.0, connections=4, threads=1, engine="paddle", precision="float32")
    record = under_load.measure(asked, texts=3, tokens=12)
    answered = record["statuses"]["200"]
    assert record["request"] == "3 x 12" and set(record["statuses"]) == {"200"}
    assert (record["errors"], record["lost"], record["end"]["errors"]) == (0, 0, 0)
    assert record["texts_per_second"] == pytest.approx(3 * answered / record["took_seconds"])
    before, after = record["predictor_texts_per_second"]
    assert record["kept"] == pytest.approx(record["texts_per_second"] / ((before + after) / 2))
    assert 0 < record["client_processor_seconds"] < record["took_seconds"] + 1
    assert record["server_processor_seconds"] > 0 and record["kept_by_processor_second"] > 0
    times = record["milliseconds"]
    assert 0 < times["p50"] <= times["p95"] <= times["p99"] < 30_000
    assert record["megabytes"]["settled"] > 0 and record["megabytes"]["end"] > 0
    # Whoever the server says that it answered has the answer.
    assert record["end"]["server_answers"] == record["end"]["statuses"] and record["end"]["exit"] in (0, -15)


def test_texts_have_as_many_tokens_as_asked(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path)
    texts = under_load.made_texts(tmp_path, 5, 12)
    assert [len(TOKENIZER.encode(text)[0]) for text in texts] == [10] * 5 and len(set(texts)) == 5

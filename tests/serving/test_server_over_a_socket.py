"""tools/serve.py over real sockets: whatever a client does gets a clear status in time, and the next request works."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Optional

import pytest

from ernie_tiny.data.clue import find_task
from ernie_tiny.files import seal
from ernie_tiny.serving.export import export_model
from tests.serving.client import (
    LATE,
    MEGABYTE,
    SECONDS,
    TOKEN,
    Answer,
    Served,
    ask,
    connected,
    entries,
    head,
    receive,
    request,
    serving,
)
from tests.serving.test_export import TOKENIZER, build

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("prometheus_client", reason="the extra serve is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("news")
    export_model(build("tnews"), find_task("tnews"), TOKENIZER, 24, folder)
    seal(folder)
    return folder


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(model, tmp_path_factory.mktemp("log") / "log.jsonl", "--seconds", str(SECONDS)) as found:
        yield found


@pytest.fixture
def stream(served: Served) -> Iterator[socket.socket]:
    with connected(served) as found:
        yield found


def works(served: Served) -> bool:
    """Whether another client's question is answered."""
    with connected(served) as stream:
        return ask(stream, request({"texts": ["今天天气"]})).status == 200


REFUSED = [
    ("malformed JSON", b'{"texts": ["a"', 400, "the body is not JSON in UTF-8"),
    ("no JSON at all", b"\x00\xff" * 5000, 400, "the body is not JSON in UTF-8"),
    ("10,000 texts", {"texts": ["今天"] * 10_000}, 413, "a request has 1 to 512 of texts, not 10000"),
    ("an empty string", {"texts": ["今天", ""]}, 422, "texts[1] is empty"),
    ("spaces", {"texts": [" \t\n"]}, 422, "texts[0] is empty"),
    ("an empty record", {"inputs": [{"sentence": ""}]}, 422, "inputs[0] is empty"),
    ("a lone surrogate", b'{"texts": ["\\ud800"]}', 422, "texts[0] has half a character: \\ud800"),
    ("one in a text", b'{"inputs": [{"sentence": "a \\udc00 b"}]}', 422, "inputs[0] has half a character: \\udc00"),
    ("200,000 characters", b'{"texts": ["' + b"a" * 200_000 + b'"]}', 413, "texts[0] has a text of 200,000 characters"),
    ("and Chinese ones", {"texts": ["花" * 200_000]}, 413, "a request may have 1,000,000 bytes"),
    ("a pair for one text", {"texts": [["今天", "天气"]]}, 422, "a question is 1 texts (sentence), and 2 texts were"),
    ("a record without its field", {"inputs": [{"text": "今天"}]}, 422, "inputs[0]: no field 'sentence'"),
    ("an empty object", {"inputs": [{}]}, 422, "inputs[0]: no field 'sentence'"),
    ("a dict among texts", {"texts": [{"sentence": "今天"}]}, 422, "a question is 1 texts"),
    ("a number", {"texts": [7]}, 422, "a question is 1 texts"),
    ("nothing", b"", 400, "the body is not JSON in UTF-8"),
]


@pytest.mark.parametrize("case, body, status, said", REFUSED, ids=[case for case, *_ in REFUSED])
def test_a_bad_question_is_refused_and_its_connection_answers_the_next(
    case: str, body: object, status: int, said: str, served: Served, stream: socket.socket
) -> None:
    answer = ask(stream, request(body))
    assert (answer.status, said in answer.error) == (status, True), answer
    assert ask(stream, request({"texts": ["今天天气"]})).status == 200


def send_much(served: Served, stream: socket.socket, first: bytes, parts: list[bytes]) -> tuple[Answer, float]:
    """What is answered to a body that is sent to its end, and how many MB the server grew meanwhile."""
    before, most = served.megabytes(), 0.0
    found: list[Optional[Answer]] = []
    reader = threading.Thread(target=lambda: found.append(receive(stream)))
    reader.start()
    stream.sendall(first)
    for part in parts:
        stream.sendall(part)
        most = max(most, served.megabytes())
    reader.join()
    assert found[0] is not None
    return found[0], most - before


def test_a_body_of_50_mb_is_refused_before_it_is_read(served: Served, stream: socket.socket) -> None:
    answer, grown = send_much(served, stream, head(f"Content-Length: {50 * MEGABYTE}"), [b"a" * MEGABYTE] * 50)
    assert (answer.status, answer.error) == (413, "a request may have 1,000,000 bytes")
    assert grown < 10
    assert ask(stream, request({"texts": ["今天天气"]})).status == 200


def test_a_body_of_50_mb_of_unknown_length_is_refused_while_it_comes(served: Served, stream: socket.socket) -> None:
    chunk = f"{MEGABYTE // 2:x}\r\n".encode() + b"a" * (MEGABYTE // 2) + b"\r\n"
    answer, grown = send_much(served, stream, head("Transfer-Encoding: chunked"), [*[chunk] * 100, b"0\r\n\r\n"])
    assert (answer.status, answer.error) == (413, "a request may have 1,000,000 bytes")
    assert grown < 10
    assert ask(stream, request({"texts": ["今天天气"]})).status == 200
    stream.sendall(head("Transfer-Encoding: chunked") + chunk * 3)  # and then nothing
    refused = receive(stream)
    assert refused is not None and refused.status == 413  # the rest is not waited for


def test_an_ordinary_client_hears_that_its_body_is_too_large(served: Served) -> None:
    import httpx

    address = f"http://127.0.0.1:{served.port}/v1/news/predict"
    found = httpx.post(address, content=b"a" * 50 * MEGABYTE, headers={"Authorization": f"Bearer {TOKEN}"})
    assert found.status_code == 413 and works(served)


def feed(stream: socket.socket, first: bytes, slowly: bytes) -> tuple[Optional[Answer], float]:
    """What comes back to bytes that are sent one by one, and after how many seconds."""
    began = time.monotonic()
    stream.sendall(first)
    stream.settimeout(0.1)
    for number in range(len(slowly)):
        with suppress(socket.timeout):
            return receive(stream), time.monotonic() - began
        with suppress(OSError):
            stream.sendall(slowly[number : number + 1])
    raise AssertionError("the server took all of it")


def test_slow_clients_are_cut_off_while_others_are_answered(served: Served) -> None:
    whole = request({"texts": ["今天"]})
    slow = {
        "body": (head("Content-Length: 999"), b"[" * 200),
        "head": (b"", head(*["X-More: a"] * 30)),
        "next head": (whole + whole[:9], b"a" * 200),
        "refused body": (head("Content-Length: 5000000"), b"[" * 200),
    }
    found: dict[str, tuple[Optional[Answer], float]] = {}

    def be_slow(name: str) -> None:
        with connected(served) as stream:
            first, slowly = slow[name]
            if name in ("next head", "refused body"):  # there is an answer before they are too slow
                stream.sendall(first)
                early = receive(stream)
                assert early is not None and early.status == (200 if name == "next head" else 413)
                first = b""
            found[name] = feed(stream, first, slowly)

    threads = [threading.Thread(target=be_slow, args=(name,)) for name in slow]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert works(served)
        time.sleep(0.2)
    assert {name: answer and answer.status for name, (answer, _) in found.items()} == {
        **{"body": 408, "head": 408, "next head": 408},
        "refused body": None,  # it has had its answer
    }
    assert all(0.8 * SECONDS < seconds < LATE for _, seconds in found.values()), found
    answer = found["head"][0]
    assert answer is not None and answer.error == f"the request did not come in {SECONDS:g} s"


def test_who_says_nothing_or_does_not_take_the_answers_is_cut_off(served: Served) -> None:
    with connected(served) as silent, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", served.port))
        deaf.setblocking(False)
        asked = head(path="/").replace(b"POST", b"GET") * 20
        began, cut = time.monotonic(), None
        while cut is None and time.monotonic() - began < 3 * LATE:
            try:
                deaf.send(asked)  # pages upon pages, none of them read
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                cut = time.monotonic() - began
        assert cut is not None
        assert silent.recv(1) == b"" and time.monotonic() - began < 3 * LATE
    assert works(served)


@pytest.mark.parametrize(
    "sent",
    [
        head("Content-Length: 500000") + b"a" * 250_000,
        head("Transfer-Encoding: chunked") + b"5\r\naa",
        request({"texts": ["今天"] * 500}),
        head()[:20],
    ],
    ids=["body", "chunked body", "before the answer", "head"],
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_hangs_up_halfway_costs_nobody_else(sent: bytes, how: str, served: Served) -> None:
    with connected(served) as stream:
        stream.sendall(sent)
        time.sleep(0.05)
        if how == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert works(served)


def test_who_hangs_up_is_told_from_who_is_refused(served: Served) -> None:
    before = len(entries(served.log))
    with connected(served) as stream:
        stream.sendall(head("Content-Length: 500000") + b"a" * 250_000)
    assert works(served)
    assert [entry["status"] for entry in entries(served.log)[before:]] == [499, 200]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01" + b"\xff" * 300,
        b"GET\r\n\r\n",
        b"a" * 100_000,
        b"\r\n" * 3 + b"\0" * 50 + b"\r\n\r\n",
    ],
    ids=["TLS", "half a line", "no end", "zeros"],
)
def test_garbage_is_refused_also_behind_a_question(garbage: bytes, served: Served, stream: socket.socket) -> None:
    answer = ask(stream, request({"texts": ["今天天气"]}) + garbage)
    assert answer.status == 200
    refused = receive(stream)
    assert refused is not None and refused.status == 400 and refused.error == "this is no HTTP request"
    assert stream.recv(1) == b"" and works(served)


def test_chunks_that_are_none_and_two_lengths_are_refused(served: Served) -> None:
    for wrong in (head("Transfer-Encoding: chunked") + b"nonsense\r\n", head("Content-Length: 5", "Content-Length: 6")):
        with connected(served) as stream:
            assert ask(stream, wrong).status == 400
    assert works(served)


def test_what_is_pipelined_is_answered_in_turn(served: Served, stream: socket.socket) -> None:
    stream.sendall(request({"texts": ["今天"]}) + request({"texts": 7}) + request({"texts": ["天气", "花"]}))
    answers = [receive(stream) for _ in range(3)]
    assert [answer and answer.status for answer in answers] == [200, 422, 200]
    assert answers[2] is not None and len(json.loads(answers[2].body)["predictions"]) == 2


def test_the_page_has_the_models_sample_and_asks_nobody_else(served: Served, stream: socket.socket) -> None:
    page = ask(stream, head(path="/").replace(b"POST", b"GET")).body.decode()
    assert '{"news": {"sentence":' in page and "http://" not in page and "https://" not in page


def test_a_folder_that_is_damaged_while_it_serves_changes_nothing(served: Served, stream: socket.socket) -> None:
    question = request({"texts": ["今天天气"]})
    expected = ask(stream, question)
    kept = shutil.copytree(served.folder, served.folder.with_name("kept"))
    try:
        (served.folder / "model.pdiparams").write_bytes(b"")
        (served.folder / "task.json").write_text("{", encoding="utf-8")
        (served.folder / "vocab.txt").unlink()
        assert ask(stream, question).body == expected.body
        answer = ask(stream, request(b"", path="/v1/news/reload"))
        assert answer.status == 409 and "is damaged" in answer.error
        assert ask(stream, question).body == expected.body
    finally:
        shutil.copytree(kept, served.folder, dirs_exist_ok=True)
    assert ask(stream, request(b"", path="/v1/news/reload")).status == 200
    assert ask(stream, question).body == expected.body


def test_the_log_is_json_without_a_traceback_or_a_text(served: Served) -> None:
    assert works(served)
    lines = served.log.read_text(encoding="utf-8").splitlines()
    assert all(line.startswith('{"event": ') for line in lines)
    assert "Traceback" not in "".join(lines) and "天气" not in "".join(lines)


def test_every_request_that_was_taken_is_answered_after_sigterm(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path / "log.jsonl", "--seconds", "20") as served:
        streams = [connected(served) for _ in range(12)]
        whole, late = request({"texts": ["今天天气"] * 200}), request({"texts": ["今天"]})
        for stream in streams[:8]:
            stream.sendall(whole)
        for stream in streams[8:]:  # still being sent when the signal comes
            stream.sendall(late[:-5])
        asking = connected(served)  # again and again, as soon as there is an answer
        assert ask(asking, late).headers.get("connection") != "close"
        served.process.send_signal(signal.SIGTERM)
        while ask(asking, late).headers.get("connection") != "close":
            pass
        until = time.monotonic() + LATE
        with pytest.raises(OSError):
            while time.monotonic() < until:
                connected(served).close()
                time.sleep(0.05)
        for stream in streams[8:]:
            stream.sendall(late[-5:])
        answers = [receive(stream) for stream in streams]
        assert [answer and answer.status for answer in answers] == [200] * 12
        assert all(answer and answer.headers["connection"] == "close" for answer in answers[8:])
        assert served.process.wait(timeout=30) in (0, -signal.SIGTERM)
        for stream in (*streams, asking):
            stream.close()

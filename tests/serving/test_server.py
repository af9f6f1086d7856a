"""The server: its answers are those of the predictor, and whatever a client sends gets a clear status."""

from __future__ import annotations

import json
import logging
import math
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import Prediction
from ernie_tiny.errors import InputError
from ernie_tiny.files import seal
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.serving.export import export_model
from ernie_tiny.serving.predictor import Predictor
from tests.serving.test_export import SHAPE, TOKENIZER, build

fastapi_client = pytest.importorskip("fastapi.testclient", reason="the extra serve is not installed")
pytest.importorskip("prometheus_client", reason="the extra serve is not installed")
from ernie_tiny.serving import server  # noqa: E402
from ernie_tiny.serving.request import Limits  # noqa: E402
from ernie_tiny.serving.server import ANSWERING, ServedModel, Service, make_app, run_server  # noqa: E402

LIMITS = Limits(
    body=20_000, inputs=8, candidates=5, sequences=9, characters=500, batch=4, room=16, wait=0.0, seconds=5.0
)
TASKS = ("tnews", "afqmc", "c3", "cmrc2018", "chid")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for task in TASKS:
        spec, found[task] = find_task(task), tmp_path_factory.mktemp(task)
        model = MultiTaskModel(build_encoder("ernie", SHAPE), [head_of(spec)])
        model.eval()
        export_model(model, spec, TOKENIZER, 24, found[task])
        seal(found[task])
    return found


@pytest.fixture(scope="module")
def client(folders: dict[str, Path]) -> Iterator[Any]:
    models = {task: ServedModel(folder, LIMITS, 1, "paddle", "float32") for task, folder in folders.items()}
    with fastapi_client.TestClient(make_app(Service(models, LIMITS))) as found:
        yield found


def ask(client: Any, task: str, body: object) -> Any:
    return client.post(f"/v1/{task}/predict", json=body)


def test_texts_are_answered_as_the_predictor_answers_them(client: Any, folders: dict[str, Path]) -> None:
    texts = ["今天天气", "公园", " 花"]
    expected = [one.record() for one in Predictor(folders["tnews"]).predict(texts)]
    assert ask(client, "tnews", {"texts": texts}).json() == json.loads(
        json.dumps({"model": "tnews", "predictions": expected})
    )
    pair = ask(client, "afqmc", {"texts": [["今天", "天气"]]})
    assert pair.status_code == 200 and pair.json()["predictions"][0]["answer"] in find_task("afqmc").labels


@pytest.mark.parametrize("task", TASKS)
def test_a_record_of_each_kind_is_answered(task: str, client: Any) -> None:
    sample = client.get("/v1").json()[task]["sample"]
    found = ask(client, task, {"inputs": [sample]})
    assert found.status_code == 200, found.text
    assert found.json()["predictions"] and client.get("/openapi.json").status_code == 200


def test_passages_of_two_requests_do_not_share_their_candidates(client: Any) -> None:
    sample = client.get("/v1").json()["chid"]["sample"]
    alone = ask(client, "chid", {"inputs": [sample]}).json()["predictions"]
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(client, "chid", {"inputs": [sample]}).json()["predictions"]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 6


@pytest.mark.parametrize(
    "body, status, said",
    [
        (b"{", 400, "the body is not JSON in UTF-8"),
        (b'{"texts": ["\xff"]}', 400, "the body is not JSON in UTF-8"),
        (b'{"texts": ["a"], "texts": ["b"]}', 400, "the key 'texts' stands twice"),
        (b'{"inputs": [{"sentence": "a", "sentence": "b"}]}', 400, "the key 'sentence' stands twice"),
        (b'{"inputs": [{"sentence": "\\ud800"}]}', 422, "inputs[0] has half a character"),
        (b"[" * 9000, 400, "the body is not JSON"),
        (b'{"inputs": [' + b"[" * 900 + b"]" * 900 + b"]}", 422, "inputs"),
        (b'"text"', 422, 'an object with a list "texts" or a list "inputs"'),
        (b'{"texts": "a"}', 422, 'an object with a list "texts"'),
        (b'{"texts": ["a"], "inputs": []}', 422, 'an object with a list "texts"'),
        (b'{"texts": []}', 422, "a request has 1 to 8 of texts, not 0"),
        (b'{"texts": [1]}', 422, "a question is 1 texts"),
        (b'{"texts": [["a", "b"]]}', 422, "a question is 1 texts (sentence), and 2 texts were given"),
        (b'{"inputs": [{"text": "a"}]}', 422, "inputs[0]: no field 'sentence'"),
        (b'{"inputs": [7]}', 422, "inputs[0]"),
        (json.dumps({"texts": ["a"] * 9}).encode(), 413, "a request has 1 to 8 of texts, not 9"),
        (json.dumps({"texts": ["b", "a" * 501]}).encode(), 413, "texts[1] has a text of 501 characters; 500 may be"),
        (b'{"texts": ["' + b"a" * 30_000 + b'"]}', 413, "a request may have 20,000 bytes"),
    ],
    ids=lambda value: None if isinstance(value, (bytes, int)) else value,
)
def test_a_bad_request_is_told_what_is_wrong_and_the_next_one_works(
    body: bytes, status: int, said: str, client: Any
) -> None:
    found = client.post("/v1/tnews/predict", content=body, headers={"Content-Type": "application/json"})
    assert found.status_code == status and said in found.json()["error"]
    assert ask(client, "tnews", {"texts": ["今天"]}).status_code == 200


def choice(count: int) -> dict[str, Any]:
    return {"context": "小明在看书。", "question": "小明？", "choice": [str(number) for number in range(count)]}


def blanks(count: int) -> dict[str, Any]:
    return {"content": ["他#idiom000000#。" * count], "candidates": ["一丝不苟", "半途而废"]}


@pytest.mark.parametrize(
    "task, inputs, said",
    [
        ("c3", [choice(2), choice(6)], "inputs[1] has 6 candidates; 5 may be"),
        ("c3", [choice(5), choice(5)], "the questions up to inputs[1] have 10 candidates together; 9 may be"),
        ("chid", [blanks(30)], "the questions up to inputs[0] have 10 candidates together; 9 may be"),
    ],
    ids=["candidates", "questions", "blanks"],
)
def test_a_small_request_does_not_ask_for_much_work(
    task: str, inputs: list[dict[str, Any]], said: str, client: Any
) -> None:
    found = ask(client, task, {"inputs": inputs})
    assert found.status_code == 413 and said in found.json()["error"]
    assert ask(client, "c3", {"inputs": [choice(5), choice(4)]}).status_code == 200


def test_odd_texts_are_texts(client: Any) -> None:
    body = b'{"texts": ["\\ud83d\\ude00", "\\u0000", "\xf0\x9f\x98\x80"]}'
    found = client.post("/v1/tnews/predict", content=body)
    assert found.status_code == 200 and len(found.json()["predictions"]) == 3
    assert ask(client, "afqmc", {"texts": [["今天", ""]]}).status_code == 200  # one of two may be empty


@pytest.mark.parametrize("texts, said", [
    ([""], "texts[0] is empty: there is nothing to answer"),
    (["花", " \n"], "texts[1] is empty"),
    (["a\ud800"], "texts[0] has half a character: \\ud800"),
])  # fmt: skip
def test_what_is_no_text_is_refused(texts: list[str], said: str, client: Any) -> None:
    found = client.post("/v1/tnews/predict", content=json.dumps({"texts": texts}).encode())
    assert found.status_code == 422 and said in found.json()["error"]
    assert ask(client, "afqmc", {"texts": [["", ""]]}).status_code == 422
    assert ask(client, "tnews", {"inputs": [{"sentence": ""}]}).status_code == 422


def test_half_a_character_in_a_key_is_refused(client: Any) -> None:
    for record in ({"a\ud800": "花"}, {"sentence": "花", "a": [{"a\ud800": 1}]}):
        found = client.post("/v1/tnews/predict", content=json.dumps({"inputs": [record]}).encode())
        assert found.status_code == 422 and "inputs[0] has half a character: \\ud800" in found.json()["error"]


def test_unknown_models_and_other_methods(client: Any) -> None:
    found = ask(client, "gone", {"texts": ["a"]})
    assert found.status_code == 404 and "there are: tnews, afqmc" in found.json()["error"]
    assert client.get("/v1/tnews/predict").status_code == 405


def test_state_and_metrics(client: Any) -> None:
    assert client.get("/health").json() == {"status": "ok"} and client.get("/ready").status_code == 200
    before = client.get("/metrics").text
    ask(client, "tnews", {"texts": ["今天", "天气"]})
    after = client.get("/metrics").text

    def value(text: str, name: str) -> float:
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)

    name = 'ernie_tiny_inputs_total{model="tnews"}'
    assert value(after, name) - value(before, name) == 2
    assert 'ernie_tiny_waiting{model="tnews"} 0.0' in after


def test_logs_hold_no_text(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ernie_tiny.serve"):
        ask(client, "tnews", {"texts": ["公园看花"]})
    (own,) = [record for record in caplog.records if record.name == "ernie_tiny.serve"]
    entry = json.loads(own.message)
    assert (entry["model"], entry["status"], entry["inputs"]) == ("tnews", 200, 1)
    assert "公园" not in caplog.text


def test_an_error_of_the_servers_own_is_one_requests(
    client: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(body: Any, *_: Any) -> Any:
        raise RuntimeError(str(body))

    with monkeypatch.context() as patch, caplog.at_level(logging.INFO, logger="ernie_tiny.serve"):
        patch.setattr(server, "questions_of", broken)
        answer = ask(client, "tnews", {"texts": ["公园看花"]})
    assert answer.status_code == 500 and "its log has" in answer.json()["error"]
    error, request = [json.loads(entry.message) for entry in caplog.records if entry.name == "ernie_tiny.serve"]
    assert (error["type"], "in broken" in error["places"][-1]) == ("RuntimeError", True)
    assert (request["status"], request["inputs"]) == (500, 0) and "公园" not in caplog.text
    assert 'ernie_tiny_requests_total{model="tnews",status="500"} 1.0' in client.get("/metrics").text
    assert ask(client, "tnews", {"texts": ["公园看花"]}).status_code == 200


def test_a_question_that_the_model_refuses_is_no_error_of_the_servers(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="ernie_tiny"):
        answer = ask(client, "c3", {"inputs": [{**choice(2), "question": "明" * 40}]})
    own = [record.levelname for record in caplog.records if record.name.startswith("ernie_tiny")]
    assert (answer.status_code, own) == (422, ["INFO"])


def test_an_answer_that_is_no_number_is_an_error_in_log_and_metrics_too(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    served = ServedModel(folders["tnews"], LIMITS, 1, "paddle", "float32")
    served.queue.replace(lambda asked: [Prediction(one.id, "100", (math.nan,)) for one in asked])
    with fastapi_client.TestClient(make_app(Service({"tnews": served}, LIMITS))) as client:
        with caplog.at_level(logging.INFO, logger="ernie_tiny.serve"):
            answer = ask(client, "tnews", {"texts": ["今天"]})
        assert answer.status_code == 500 and "its log has" in answer.json()["error"]
        assert 'ernie_tiny_requests_total{model="tnews",status="500"} 1.0' in client.get("/metrics").text
    own = [json.loads(entry.message)["event"] for entry in caplog.records if entry.name == "ernie_tiny.serve"]
    assert own == ["error", "request"]


def test_a_line_of_the_log_shows_where_an_error_is_and_not_what_it_says() -> None:
    text = "公园"
    try:
        raise KeyError(text)
    except KeyError as error:
        told = (KeyError, error, error.__traceback__)
        record = logging.LogRecord("asyncio", logging.ERROR, "", 0, f"a task failed\nfuture: {error!r}", None, told)
    line = server._JsonLines().format(record)
    entry = json.loads(line)
    assert (entry["said"], entry["type"], len(entry["places"])) == ("a task failed", "KeyError", 1)
    assert text not in line


def test_a_token_is_asked_for_where_there_is_one(folders: dict[str, Path]) -> None:
    models = {"tnews": ServedModel(folders["tnews"], LIMITS, 1, "paddle", "float32")}
    with fastapi_client.TestClient(make_app(Service(models, LIMITS, token="secret"))) as client:
        assert ask(client, "tnews", {"texts": ["a"]}).status_code == 401
        wrong = client.post("/v1/tnews/reload", headers={"Authorization": "Bearer secre"})
        assert wrong.status_code == 401 and wrong.headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/health").status_code == 200
        right = {"Authorization": "Bearer secret"}
        assert client.post("/v1/tnews/predict", json={"texts": ["a"]}, headers=right).status_code == 200
    with fastapi_client.TestClient(make_app(Service(models, LIMITS, token="密码"))) as client:
        right = {b"Authorization": "Bearer 密码".encode()}
        assert client.post("/v1/tnews/reload", headers=right).status_code == 200


def test_a_damaged_folder_is_not_taken_and_the_old_model_goes_on(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["tnews"], tmp_path / "model")
    models = {"tnews": ServedModel(tmp_path / "model", LIMITS, 1, "paddle", "float32")}
    with fastapi_client.TestClient(make_app(Service(models, LIMITS))) as client:
        expected = ask(client, "tnews", {"texts": ["今天"]}).json()
        weights = tmp_path / "model" / "model.pdiparams"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-10] + b"\0" * 10)
        found = client.post("/v1/tnews/reload")
        assert found.status_code == 409 and "is damaged: model.pdiparams has another checksum" in found.json()["error"]
        assert ask(client, "tnews", {"texts": ["今天"]}).json() == expected
        shutil.rmtree(tmp_path / "model")
        export_model(build("tnews"), find_task("tnews"), TOKENIZER, 24, tmp_path / "model")
        assert client.post("/v1/tnews/reload").json() == {"model": "tnews", "reloaded": True}
        assert ask(client, "tnews", {"texts": ["今天"]}).json() != expected


def test_an_edited_card_and_a_form_that_nobody_asks_for_are_no_damage(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["tnews"], tmp_path / "model")
    for name in ("README.md", "model.onnx"):
        (folder / name).write_text("as written", encoding="utf-8")
    seal(folder)
    (folder / "README.md").write_text("edited", encoding="utf-8")
    (folder / "model.onnx").unlink()
    assert ServedModel(folder, LIMITS, 1, "paddle", "float32").predictor.predict(["今天"])
    with pytest.raises(InputError, match="no such file"):
        ServedModel(folder, LIMITS, 1, "onnx", "float32")


def test_more_than_there_is_room_for_gets_429(folders: dict[str, Path]) -> None:
    limits = Limits(inputs=8, batch=1, room=1, wait=0.0, seconds=5.0)
    served = ServedModel(folders["tnews"], limits, 1, "paddle", "float32")
    go, began, answer = threading.Event(), threading.Semaphore(0), served.predictor.predict

    def slow(examples: Any) -> Any:
        began.release()
        go.wait(10)
        return answer(examples)

    served.queue.replace(slow)
    with fastapi_client.TestClient(make_app(Service({"tnews": served}, limits))) as client:
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(ask(client, "tnews", {"texts": ["今天"]}).status_code))
            for _ in range(1 + ANSWERING)
        ]
        for thread in threads[:-1]:  # each is taken by one that answers before the next one asks
            thread.start()
            assert began.acquire(timeout=10)
        threads[-1].start()
        until = time.monotonic() + 10
        while served.queue.waiting < 1 and time.monotonic() < until:
            time.sleep(0.01)
        full = ask(client, "tnews", {"texts": ["天气"]})
        assert full.status_code == 429 and int(full.headers["Retry-After"]) >= 1
        go.set()
        for thread in threads:
            thread.join()
        assert found == [200] * (1 + ANSWERING)


def test_an_address_that_cannot_be_had_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=f"--host 127.0.0.1 --port {port}: cannot listen there .*Name another port"
        ):
            run_server({}, LIMITS, "127.0.0.1", port)
    for host, port in (("127.0.0.1", 70_000), ("no.such.host.invalid", 0)):
        with pytest.raises(InputError, match=f"--host {host} --port {port}: cannot listen there"):
            run_server({}, LIMITS, host, port)


def test_a_fraction_of_a_second_is_kept() -> None:
    config = server._config(make_app(Service({}, LIMITS)), Limits(seconds=0.4))
    assert (config.timeout_keep_alive, config.timeout_graceful_shutdown) == (0.4, 2)

"""The server's page in a headless Chromium: a text classified, entities marked, no script error, no request beyond."""

from __future__ import annotations

import html
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paddle
import pytest

from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.files import seal
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.serving.export import export_model
from tests.report.test_page_in_browser import CHROMIUM, FLAGS, NEEDS_CHROMIUM
from tests.serving.test_export import SHAPE, TOKENIZER
from tests.serving.test_server import LIMITS

httpx = pytest.importorskip("httpx", reason="the extra serve is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
pytest.importorskip("prometheus_client", reason="the extra serve is not installed")
from ernie_tiny.serving.server import ServedModel, Service, make_app  # noqa: E402

PEOPLE = TaskSpec(
    name="people", kind="labelling", files={"train": ("train.txt",)}, labels=("PER", "LOC"), file_format="conll"
)
# Stands before the page's own script: it sees every error and every request, and asks a question when all is there.
PROBE = """<script>
const errors = [];
addEventListener("error", event => errors.push(event.message || event.target.outerHTML), true);
addEventListener("unhandledrejection", event => errors.push(String(event.reason)));
addEventListener("load", async () => {
  const place = name => document.getElementById(name), said = {};
  for (const [model, record] of Object.entries(QUESTIONS)) {
    place("model").value = model;
    place("model").onchange();
    place("record").value = JSON.stringify(record);
    await place("ask").onclick();
    const marks = Array.from(place("marked").querySelectorAll("mark"), one => one.textContent);
    said[model] = {shown: place("marked").textContent, answer: place("answer").textContent, marks,
                   failed: place("answer").className === "error"};
  }
  said.requests = performance.getEntriesByType("resource").map(one => one.name);
  said.errors = errors;
  document.title = JSON.stringify(said);
});
</script>"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folders = {}
    for spec in (find_task("tnews"), PEOPLE):
        folders[spec.name] = tmp_path_factory.mktemp(spec.name)
        model = MultiTaskModel(build_encoder("ernie", SHAPE), [head_of(spec)])
        if spec is PEOPLE:
            with paddle.no_grad():
                model.heads[PEOPLE.name].dense.bias[1] = 100.0  # B-PER: each token begins a person
        model.eval()
        export_model(model, spec, TOKENIZER, 24, folders[spec.name])
        seal(folders[spec.name])
    models = {name: ServedModel(folder, LIMITS, 1, "paddle", "float32") for name, folder in folders.items()}
    server = uvicorn.Server(uvicorn.Config(make_app(Service(models, LIMITS)), log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def ask_on_the_page(address: str, questions: dict[str, object], folder: Path) -> dict:
    """What the page shows of a record for each model, with the requests and the errors of the window."""
    page = httpx.get(address).text
    probe = PROBE.replace("QUESTIONS", json.dumps(questions, ensure_ascii=False))
    file = folder / "window.html"  # with the server's address as its base; so it may ask it what the page itself may
    file.write_text(page.replace("<head>", f'<head><base href="{address}/">{probe}'), encoding="utf-8")
    command = [
        str(CHROMIUM), *FLAGS.split(), "--disable-web-security", "--virtual-time-budget=20000",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={folder / 'profile'}",
        file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found is not None, done.stdout[:2000]
    return json.loads(html.unescape(found[1]))


@NEEDS_CHROMIUM
def test_a_text_is_classified_and_entities_are_marked(address: str, tmp_path: Path) -> None:
    said = ask_on_the_page(address, {"tnews": {"sentence": "今天天气很好"}, "people": {"text": "我们去公园"}}, tmp_path)
    assert said["errors"] == [] and said["requests"] == [f"{address}/v1/{name}/predict" for name in ("tnews", "people")]
    assert said["tnews"]["shown"] in find_task("tnews").labels and not said["tnews"]["failed"]
    assert said["people"]["marks"] == [f"{sign}PER" for sign in "我们去公园"]
    assert [one["start"] for one in json.loads(said["people"]["answer"])["answer"]] == [0, 1, 2, 3, 4]


@NEEDS_CHROMIUM
def test_what_the_server_refuses_is_shown(address: str, tmp_path: Path) -> None:
    said = ask_on_the_page(address, {"tnews": {"sentences": "今天"}}, tmp_path)
    assert said["tnews"]["failed"] and "sentence" in said["tnews"]["answer"] and said["errors"] == []

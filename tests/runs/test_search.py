"""A search over trainings that are only pretended: its cells, its kills, its failures, its results."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest

from ernie_tiny.config import load_config, to_yaml
from ernie_tiny.errors import InputError
from ernie_tiny.runs.inputs import guard_inputs
from ernie_tiny.runs.search import outline, parse_grid, plan_search, run_search

ROOT = Path(__file__).resolve().parents[2]
PRETENDED = str(Path(__file__).with_name("pretend_training.py"))
RATE = "stages.finetune.optim.learning_rate"
GRID = (f"{RATE}=1e-3,2.0e-3", "seed=1,2")
CONFIG = """
name: own
data:
  root: {folder}
  tasks:
    reviews:
      {{kind: classification, texts: [text], labels: [bad, good], files: {{train: [train.jsonl], dev: [train.jsonl]}}}}
models:
  student: {{num_hidden_layers: 1, hidden_size: 32, num_attention_heads: 2, max_position_embeddings: 128}}
tokenizer: {{vocab: {folder}/vocab.txt}}
stages:
  - name: finetune
    train: student
    per_task: true
    data: {{tasks: [reviews]}}
    objective: {{hard: {{weight: 1.0}}}}
    optim: {{learning_rate: 5.0e-3, epochs: 3, batch_size: 16}}
    task_settings: {{reviews: {{max_length: 64}}, tnews: {{max_length: 64}}}}
report: {{student: student@finetune}}
runtime: {{threads: 5}}
"""
DRIVER = """
import sys
from pathlib import Path
from ernie_tiny.runs.search import plan_search, run_search

config, output, pretended, *grid = sys.argv[1:]
for line in run_search(plan_search(config, [], grid, Path(output)), Path(output), [sys.executable, pretended], jobs=2):
    print(line, flush=True)
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "train.jsonl").write_text('{"text": "x", "label": "bad"}\n')
    (tmp_path / "own.yaml").write_text(CONFIG.format(folder=tmp_path))
    return str(tmp_path / "own.yaml")


def run(config: str, folder: Path, grid: tuple[str, ...] = GRID, jobs: int = 1) -> list[str]:
    return list(run_search(plan_search(config, [], grid, folder), folder, [sys.executable, PRETENDED], jobs))


def start(config: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", DRIVER, config, str(folder), PRETENDED, *GRID]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.time() + 30
    while not condition():
        assert time.time() < deadline
        time.sleep(0.01)


def steps(folder: Path) -> list[int]:
    return [file.read_text().count("step") for file in folder.rglob("events")]


def nobody_trains(folder: Path) -> bool:
    with (folder.parent / "alive").open("a") as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed search leaves its trainings to their end")
def test_a_search_killed_twice_ends_with_each_run_run_once(config: str, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    for number, begun in ((signal.SIGKILL, [1, 1]), (signal.SIGTERM, [2, 2])):
        search = start(config, folder)
        wait_for(lambda begun=begun: steps(folder) == begun)
        search.send_signal(number)
        _, said = search.communicate()
        assert search.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143}[number], said
        wait_for(lambda: nobody_trains(folder))
    assert "The same command goes on from here" in said
    (tmp_path / "go").touch()
    search = start(config, folder)
    printed, said = search.communicate()
    assert search.returncode == 0, said
    assert "4 of 4 runs are finished" in printed
    assert [file.read_text() for file in folder.rglob("events")] == ["step\nstep\nend\n"] * 4

    before = {file: file.stat().st_mtime_ns for file in folder.rglob("results.json")}
    assert "4 of 4 runs are finished" in run(config, folder)[-1]  # and none is run again
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("results.json")}


def test_mean_and_deviation_stand_beside_the_best_of_the_grid(config: str, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    printed = run(config, tmp_path / "search", jobs=2)
    results = json.loads((tmp_path / "search/search.json").read_text(encoding="utf-8"))
    low, high = results["cells"]  # 50 + 1000 x rate + seed
    assert (low["mean"], high["mean"]) == ({"reviews": 52.5}, {"reviews": 53.5})
    assert high["deviation"]["reviews"] == pytest.approx(0.5**0.5)
    assert results["best"]["reviews"]["single"] == {"score": 54.0, "cell": "learning_rate=2.0e-3", "seed": "2"}
    assert results["best"]["reviews"]["mean"]["cell"] == "learning_rate=2.0e-3"
    for name in ("search.md", "search.html"):
        written = (tmp_path / "search" / name).read_text(encoding="utf-8")
        for text in ("53.50 ± 0.71", "54.00", "optimistic, as the published numbers are"):
            assert text in written
    bars = re.search(r'<g class="error">(.*?)</g>', written, re.DOTALL)
    assert bars is not None and bars[1].count("<path") == 2
    assert "53.50 ± 0.71" in printed[-1] and len(printed) == 5
    records = [json.loads(file.read_text()) for file in (tmp_path / "search").rglob("results.json")]
    assert [record["threads"] for record in records] == ["2"] * 4  # of five, for two at a time


def test_runs_of_other_data_do_not_stand_beside_finished_ones(config: str, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    folder = tmp_path / "search"
    one, two = (f"{RATE}=1e-3", "seed=1"), (f"{RATE}=1e-3", "seed=1,2")
    trials = folder / "learning_rate=1e-3"
    run(config, folder, one)
    guard_inputs(load_config(config), trials / "seed=1")  # as a training does when it begins
    (tmp_path / "train.jsonl").write_text('{"text": "x", "label": "good"}\n')
    assert len(run(config, folder, one)) == 1  # nothing is added to it
    with pytest.raises(InputError, match=r"seed=1: is finished, .* changed since: train.jsonl \(reviews, dev\), "):
        run(config, folder, two)
    assert not (trials / "seed=2/results.json").exists()
    (tmp_path / "train.jsonl").write_text('{"text": "x", "label": "bad"}\n')
    run(config, folder, two)
    assert (trials / "seed=2/results.json").exists()


def test_a_run_that_fails_ends_no_other_and_is_tried_again(config: str, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    (tmp_path / "broken").write_text("1e-3")
    with pytest.raises(InputError, match="2 of 4 runs failed, first .*learning_rate=1e-3.seed=1: its train.log"):
        run(config, tmp_path / "search")
    results = json.loads((tmp_path / "search/search.json").read_text(encoding="utf-8"))
    assert [trial["state"] for trial in results["trials"]] == ["failed", "finished"] * 2
    assert [cell["finished"] for cell in results["cells"]] == [0, 2]
    log = (tmp_path / "search/learning_rate=1e-3/seed=1/train.log").read_text()
    assert log == "it broke\n"
    (tmp_path / "broken").unlink()
    printed = run(config, tmp_path / "search")
    assert printed[0].startswith("1 of 2") and "4 of 4 runs are finished" in printed[-1]


def test_seeds_alone_repeat_the_config(config: str, tmp_path: Path) -> None:
    search = plan_search(config, [f"{RATE}=4e-3"], ["seed=1,2,3"], tmp_path / "search")
    assert [Path(trial.folder).name for trial in search.trials] == ["seed=1", "seed=2", "seed=3"]
    assert outline(search).count("  open  ") == 3
    without_seed = plan_search(config, [], [f"{RATE}=1e-3,2e-3"], tmp_path / "search")
    assert [trial.seed for trial in without_seed.trials] == ["42", "42"]


def test_a_star_stands_for_every_name_that_is_there(config: str, tmp_path: Path) -> None:
    search = plan_search(config, [], ["stages.*.task_settings.*.max_length=16,32"], tmp_path)
    for trial, length in zip(search.trials, ("16", "32")):
        settings = [item for item in search.arguments[trial.folder] if "task_settings" in item]
        expected = [f"stages.finetune.task_settings.{task}.max_length={length}" for task in ("reviews", "tnews")]
        assert settings == expected
        assert trial.cell == f"max_length={length}"


def test_values_are_split_as_yaml_and_kept_as_written() -> None:
    assert parse_grid(["a.b=1e-5, 2.0e-5,010", "c=[0, 1],[2]", "d='a,b',x"]) == {
        "a.b": ["1e-5", "2.0e-5", "010"],
        "c": ["[0, 1]", "[2]"],
        "d": ["'a,b'", "x"],
    }


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (["seed"], "write KEY=V1,V2"),
        (["=1"], "write KEY=V1,V2"),
        (["seed="], "write KEY=V1,V2"),
        (["seed=[1"], "not valid YAML"),
        (["seed=1,1"], "the value 1 stands twice"),
        (["seed=1", "seed=2"], "seed stands twice"),
        ([f"{RATE}=fast"], "expected a number"),
        ([f"{RATE}x=1"], "Did you mean 'learning_rate'"),
        (["stages.none.*.x=1"], "nothing that the \\* could stand for"),
        (["report.student=null"], "would not score student@finetune"),
        (["data.root=a/b,a:b"], "is the name of two cells"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(config: str, tmp_path: Path, items: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan_search(config, [], items, tmp_path / "search")
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize("key", ["runtime.threads", "runtime.*"])
def test_threads_are_no_key_of_a_grid(config: str, tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=r"runtime\.threads cannot be searched: .* Set it with -o runtime\.threads=N"):
        plan_search(config, [], [f"{key}=1,2"], tmp_path / "search")


def test_a_star_stands_for_nothing_of_the_base_run(config: str, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.yaml").write_text(to_yaml(load_config(config)), encoding="utf-8")
    text = Path(config).read_text(encoding="utf-8").replace("finetune", "again").replace("student", "small")
    (tmp_path / "more.yaml").write_text(f"base_run: {tmp_path}/base\n{text}", encoding="utf-8")
    grid = ["stages.*.optim.learning_rate=1e-3", "models.*.hidden_dropout_prob=0.2"]
    search = plan_search(str(tmp_path / "more.yaml"), ["report={student: small@again}"], grid, tmp_path / "search")
    (arguments,) = search.arguments.values()
    assert [item for item in arguments if item.startswith(("stages.", "models."))] == [
        "stages.again.optim.learning_rate=1e-3", "models.small.hidden_dropout_prob=0.2"
    ]  # fmt: skip


def test_only_models_of_the_report_can_be_compared(config: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'student@finetune'.*report.others"):
        plan_search(config, [], GRID, tmp_path, "student@finetuned")
    further = ["report.others.same=student@finetune", "report.student=null"]
    assert plan_search(config, further, GRID, tmp_path).reference == "student@finetune"

"""Two processes train, score and fail as one: same examples, losses, predictions; no process outlives another."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
TRAIN, DIE, LEAVE = (Path(__file__).with_name(name) for name in ("train_and_record.py", "die.py", "leave.py"))
ROUNDING = 1.0e-4  # Adam enlarges rounding errors where a gradient is 0 by its nature, as of the keys' biases
TASKS = ["tnews", "csl", "c3"]
SHAPE = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.0,  # dropout is drawn in each process, so that it depends on their number
    "attention_probs_dropout_prob": 0.0,
}
RUN: dict[str, Any] = {
    "name": "tiny",
    "tokenizer": {"build_from": "general", "vocab_size": 600},
    "runtime": {"threads": 1, "logging_steps": 1, "save_steps": 10, "visualdl": False, "device": "cpu"},
    "models": {"teacher": {"hidden_size": 24, **SHAPE}, "student": {"hidden_size": 16, **SHAPE}},
    "stages": [
        {
            # Five sequences for two processes, and masked tokens by their number: the shares are not equal.
            "name": "pretrain",
            "train": "teacher",
            "data": {"corpus": "general", "max_length": 24},
            "objective": {"mlm": {"weight": 1.0}},
            "optim": {"learning_rate": 1.0e-3, "max_steps": 10, "batch_size": 5},
        },
        {
            # A batch uses one of three heads, two batches make a step, lengths differ.
            "name": "enhance",
            "train": "teacher@pretrain",
            "data": {"tasks": TASKS, "examples": 40},
            "objective": {"hard": {"weight": 1.0}},
            "optim": {"learning_rate": 1.0e-3, "max_steps": 50, "max_tokens": 2048, "accumulate": 2},
            "select": {"every": 25, "examples": 20},
        },
        {
            # The student's last layer ends behind its projections: its rest and the pooler get no gradient.
            "name": "distil",
            "train": "student",
            "teacher": "teacher@enhance",
            "data": {"corpus": "general", "max_length": 24},
            "objective": {"relation": {"relation_heads": 4}, "hidden": {"layers": ["0:0"]}},
            "optim": {"learning_rate": 1.0e-3, "max_steps": 40, "batch_size": 5},
        },
        {
            # Its texts use less than half of the vocabulary.
            "name": "finetune",
            "train": "student@distil",
            "data": {"tasks": ["tnews"], "examples": 20},
            "objective": {"hard": {"weight": 1.0}},
            "optim": {"learning_rate": 1.0e-3, "max_steps": 10, "batch_size": 5},
        },
    ],
    "report": {"teacher": "teacher@enhance", "tasks": TASKS, "examples": 30},
}
STEPS = {"pretrain": 10, "enhance": 50, "distil": 40, "finetune": 10}


@pytest.fixture(scope="module", autouse=True)
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What becomes of launches of which a part fails. They mostly wait, so that other tests run meanwhile."""
    folders = {how: tmp_path_factory.mktemp(how) for how in ("raise", "process", "launcher")}
    with ThreadPoolExecutor() as pool:
        yield {
            how: pool.submit(launch, [str(DIE), how, str(folder / "pids")], folder, "--backend", "gloo")
            for how, folder in folders.items()
        }


@pytest.fixture(scope="module")
def alone(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run by one process, undisturbed."""
    folder = tmp_path_factory.mktemp("alone")
    assert finish(start(1, config(folder, sample), folder)) == [0]
    return folder


@pytest.fixture(scope="module")
def together(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run by two processes up to step 25 of distil, by one to step 33, by two again to the end."""
    folder = tmp_path_factory.mktemp("together")
    command = config(folder, sample)
    stopped, _ = launch([*command, "--fail", "distil", "25", "1", "stop"], folder)
    assert stopped.returncode == signal.SIGTERM  # it no longer shows what its processes say
    assert "a checkpoint is saved" in (folder / "log/workerlog.0").read_text(encoding="utf-8")
    assert finish(start(1, [*command, "--fail", "distil", "33", "0", "kill"], folder)) == [-signal.SIGKILL]
    assert finish(start(2, command, folder)) == [0, 0]
    return folder


def config(folder: Path, data: Path) -> list[str]:
    """Writes the run's config into a folder; the arguments of train_and_record.py."""
    run = {**RUN, "output_dir": str(folder / "run")}
    run["data"] = {"root": str(data), "corpora": {"general": {"files": ["corpus/*.txt"]}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    return [str(TRAIN), str(folder / "config.yaml"), str(folder / "steps")]


def start(number: int, command: list[str], folder: Path) -> list[subprocess.Popen]:
    """The processes of a run, with the environment that the launcher gives them, and without its pauses."""
    endpoints = [f"127.0.0.1:{free_port()}" for _ in range(number)]
    found = []
    for rank, endpoint in enumerate(endpoints):
        environment = {
            **os.environ,
            "PADDLE_TRAINER_ID": str(rank),
            "PADDLE_TRAINERS_NUM": str(number),
            "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
            "PADDLE_CURRENT_ENDPOINT": endpoint,
            "PADDLE_RANK_IN_NODE": str(rank),
            "PADDLE_DISTRI_BACKEND": "gloo",
        }
        with (folder / f"output.{rank}").open("a", encoding="utf-8") as output:
            process = subprocess.Popen([sys.executable, *command], env=environment, stdout=output, stderr=output)
        found.append(process)
        time.sleep(0.5 * (number - 1))  # who comes before the main process tries again after three seconds
    return found


def finish(found: list[subprocess.Popen]) -> list[int]:
    return [process.wait(timeout=120) for process in found]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def launch(command: list[str], folder: Path, *options: str) -> tuple[subprocess.CompletedProcess, float]:
    """Two processes by Paddle's launcher; what its terminal shows, and the seconds."""
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", *options]
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, *launcher, "--log_dir", str(folder / "log"), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done, time.monotonic() - begin


def steps(folder: Path) -> dict[tuple[str, str], set[str]]:
    """The example ids of each step, by stage and step."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in folder.glob("steps.*"):
        for line in file.read_text(encoding="utf-8").splitlines():
            stage, step, *ids = line.split()
            found[stage, step] |= set(ids)
    return found


def losses(folder: Path) -> list[tuple[str, int, dict[str, float]]]:
    """What the steps logged of their losses; twice for a step that was repeated."""
    events = map(json.loads, (folder / "run/events.jsonl").read_text(encoding="utf-8").splitlines())
    return [
        (event["stage"], event["step"], {name: value for name, value in event.items() if name.startswith("raw/")})
        for event in events
        if event["event"] == "log"
    ]


def weights(folder: Path, stage: str) -> np.ndarray:
    """All of a stage's final weights in one row."""
    files = sorted((folder / f"run/stages/{stage}/model").glob("*.safetensors"))
    return np.concatenate([value.ravel() for file in files for _, value in sorted(load_file(file).items())])


def test_any_number_of_processes_takes_the_same_examples_in_the_same_steps(alone: Path, together: Path) -> None:
    assert steps(alone) == steps(together)
    assert len(steps(alone)) == sum(STEPS.values())
    first = [(together / f"steps.{rank}").read_text(encoding="utf-8").splitlines()[0].split() for rank in (0, 1)]
    assert len(first[0]) != len(first[1])


def test_two_processes_have_the_losses_of_one(alone: Path, together: Path) -> None:
    expected = {(stage, step): terms for stage, step, terms in losses(alone)}
    found = losses(together)
    assert {(stage, step) for stage, step, _ in found} == expected.keys()
    assert len(expected) == sum(STEPS.values())
    for stage, step, terms in found:
        assert terms == pytest.approx(expected[stage, step], rel=1e-5, abs=1e-7), (stage, step)


@pytest.mark.parametrize("stage", list(STEPS))
def test_a_run_that_was_stopped_and_killed_ends_at_the_weights_of_the_undisturbed_one(
    stage: str, alone: Path, together: Path
) -> None:
    expected, found = weights(alone, stage), weights(together, stage)
    assert np.linalg.norm(expected - found) < ROUNDING * np.linalg.norm(expected)


def test_the_last_stage_trains_a_part_of_the_embeddings(alone: Path, together: Path) -> None:
    for folder in (alone, together):
        output = (folder / "output.0").read_text(encoding="utf-8")
        assert len(re.findall("finetune: trains the [0-9]+ rows of the token embeddings", output)) == 1


def test_two_processes_predict_and_score_what_one_does_byte_for_byte(together: Path, tmp_path: Path) -> None:
    run = together / "run"
    command = [str(ROOT / "tools/evaluate.py"), "--run", str(run), "--examples", "30", "--output"]
    assert finish(start(1, [*command, str(tmp_path / "1")], tmp_path)) == [0]
    assert finish(start(2, [*command, str(tmp_path / "2")], tmp_path)) == [0, 0]
    assert (tmp_path / "1/evaluation.json").read_bytes() == (tmp_path / "2/evaluation.json").read_bytes()
    for task in TASKS:
        found = (run / f"predictions/teacher/{task}.jsonl").read_bytes()
        for number in (1, 2):
            assert found == (tmp_path / f"{number}/teacher@enhance/{task}.jsonl").read_bytes()
        assert len(found.splitlines()) == 30


def test_a_process_that_raises_ends_the_others_and_its_traceback_is_shown(failed: dict[str, Any]) -> None:
    done, seconds = failed["raise"].result()
    assert done.returncode != 0 and seconds < 60
    for line in ("process 1 of 2 failed", "Traceback", "RuntimeError: a fault in one process"):
        assert line in done.stdout + done.stderr, done


def test_a_watcher_does_not_abort_the_process_that_leaves(tmp_path: Path) -> None:
    done, _ = launch([str(LEAVE)], tmp_path)
    assert (done.returncode, "terminate called" in done.stdout + done.stderr) == (0, False)


def test_a_killed_process_ends_the_others(failed: dict[str, Any]) -> None:
    done, seconds = failed["process"].result()
    assert done.returncode != 0 and seconds < 60


def test_a_killed_launcher_ends_its_processes(failed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    done, _ = failed["launcher"].result()
    assert done.returncode == -signal.SIGKILL
    pids = {int(file.name) for file in tmp_path_factory.getbasetemp().glob("launcher*/pids/*")}
    assert len(pids) == 2
    end = time.monotonic() + 20
    while any(map(is_running, pids)):
        assert time.monotonic() < end
        time.sleep(0.2)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

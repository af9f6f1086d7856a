"""The study in benchmarks/quality/real_teacher: its configs are valid, and its queue goes on where it was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality.real_teacher import run as study
from benchmarks.quality.real_teacher.arms import ARMS, GROUPS
from benchmarks.quality.real_teacher.parts import ENHANCED, FEW_CLUE, NANO, TEACHERS, Part, queue
from ernie_tiny.config import RunConfig, load_config
from ernie_tiny.config.shapes import SHAPES
from ernie_tiny.files import to_json
from ernie_tiny.report.results import Results, StageResult, to_record
from ernie_tiny.runs.lock import run_lock
from tests.benchmarks.conftest import TEACHER

RUN = Path(study.__file__)
CONFIGS = RUN.parents[3] / "configs"
# Stands for tools/train.py, evaluate.py and export.py: notes the call, and ends as a file in the data root says.
TOOL = """
import json, pathlib, sys, time
root = pathlib.Path(__file__).parent
name = pathlib.Path(sys.argv[0]).stem
if name == "train":
    given = dict(item.split("=", 1) for item in sys.argv[4:])
    folder = pathlib.Path(json.loads(given["output_dir"]))
    done = folder / "results.json"
else:
    folder = pathlib.Path(sys.argv[sys.argv.index("--run") + 1])
    done = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
    done = done / ("evaluation.json" if name == "evaluate" else "config.json")
with (root / "calls").open("a") as calls:
    calls.write(name + " " + folder.relative_to(root / "out").as_posix() + "\\n")
if (root / "wait").exists():
    time.sleep(60)
if (root / ("fail " + name + " " + folder.name)).exists():
    sys.exit(2)
done.parent.mkdir(parents=True, exist_ok=True)
done.write_text((root / "results.json").read_text())
begun = len((root / "calls").read_text().splitlines())
with (root / "ends").open("a") as ends:
    ends.write(name + " " + folder.relative_to(root / "out").as_posix() + " " + str(begun) + "\\n")
"""


RESULTS = to_json(to_record(Results("made", [], {}, {}, {}, {}, {}, [])))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with tools that train nothing; summarising is left out."""
    for name in ("train", "evaluate", "export"):
        (tmp_path / f"{name}.py").write_text(TOOL)
    (tmp_path / "results.json").write_text(RESULTS)
    monkeypatch.setattr(study, "TOOLS", tmp_path)
    monkeypatch.setattr(study, "summarise", lambda args: None)
    return tmp_path


def arguments(root: Path, *more: str) -> list[str]:
    return ["--data", str(root), "--teacher", "a-teacher", "--output", str(root / "out"), *more]


def calls(root: Path) -> list[str]:
    return (root / "calls").read_text().splitlines()


def calls_of(part: Part) -> list[str]:
    return [
        f"train {part.name}",
        *[f"evaluate {part.name}"] * bool(part.few),
        *[f"export {part.name}"] * bool(part.exported),
    ]


def write_results(folder: Path, text: str = RESULTS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(text)


def test_what_is_exported_for_transformers_is_one_encoder(runs: Mapping[str, RunConfig]) -> None:
    exported = [part for part in queue() if part.exported]
    assert exported
    for part in exported:
        assert not runs[part.name].stage_of(str(part.exported)).per_task


def test_the_configs_go_on_from_each_other_and_train_every_arm(runs: Mapping[str, RunConfig]) -> None:
    for arm in ARMS.values():
        for seed in arm.seeds:
            run = runs[arm.run.format(seed=seed)]
            assert arm.reference in run.report.models.values()
    for name in ("scratch", "mitkd", "unenhanced"):
        run = runs[f"seed=1/{name}"]
        judged = {task for group in GROUPS.values() for task in group}
        assert judged == set(run.stage("finetune").data.tasks) == {*run.report.tasks, *FEW_CLUE}


def test_each_arm_learns_from_the_teacher_that_it_is_named_after(runs: Mapping[str, RunConfig]) -> None:
    assert runs["seed=2/mitkd"].stage("distil").teacher == "teacher@enhance"
    assert runs["seed=2/unenhanced"].stage("distil").teacher == "teacher"
    assert runs["seed=2/scratch"].stage("finetune").train == "student"
    starts = {"mitkd": "teacher@enhance", "combined": "teacher@enhance", "unenhanced": "teacher", "gd": "teacher"}
    for name, start in {**starts, "scratch": None, "without-gd": "teacher", "mkd": "teacher@enhance"}.items():
        assert runs[f"seed=2/{name}"].models["student"].init_from == start
    assert runs["seed=2/without-ged"].stage("TAD").train == "student@GD"
    assert runs["seed=2/without-gd"].stage("GED").train == "student"
    assert runs["seed=2/four-stages"].stage("TSD-without-TAD").train == "student@GED"
    assert runs["seed=2/task-alone"].stage("TSD").train == "student"
    assert runs["seed=2/combined"].stage("TAD").train == "student@distil"
    assert {run.seed for name, run in runs.items() if name.startswith("seed=2/")} == {2}
    assert "afqmc" not in runs[ENHANCED].stage("enhance").data.tasks


def test_students_of_other_sizes_take_from_the_teacher_what_they_can(runs: Mapping[str, RunConfig]) -> None:
    small, deep = (runs[f"seed=3/{name}"].models["student"] for name in ("3L128H", "6L384H"))
    width = TEACHER["hidden_size"] // TEACHER["num_attention_heads"]
    assert SHAPES["pico"].hidden_size // small.num_attention_heads == width  # a head can be narrowed, never widened
    assert SHAPES["mini"].hidden_size == TEACHER["hidden_size"]
    assert deep.init_narrowed is None and len(deep.init_layers) == SHAPES["mini"].num_hidden_layers


def test_runs_share_what_a_teacher_says_of_the_rows_of_a_task(runs: Mapping[str, RunConfig]) -> None:
    folders = [runs[f"seed={seed}/{name}"].stage("TSD").cache.folder for seed, name in (
        ("1", "four-stages"), ("1", "task-alone"), ("2", "without-gd"), ("1", "combined"),
    )]  # fmt: skip
    assert len(set(folders[:3])) == 1 and folders[3] not in folders[:3]
    assert runs["seed=3/mkd"].stage("joint").cache.folder == folders[3]
    assert runs["seed=3/unlabelled"].stage("TSD").cache.folder is None  # whose rows are others


def test_the_shown_student_has_the_shape_stages_and_objectives_of_its_base(runs: Mapping[str, RunConfig]) -> None:
    base, shown = load_config(CONFIGS / "mitkd/nano.yaml"), runs[NANO]
    assert shown.models["student"].shape == base.models["student"].shape
    assert [stage.name for stage in shown.stages] == [stage.name for stage in base.stages if stage.name != "scratch"]
    for stage in shown.stages:
        other = base.stage(stage.name)
        assert stage.objective == other.objective and stage.per_task == other.per_task
        assert (stage.train, stage.teacher, stage.auxiliary_layers) == (
            other.train,
            other.teacher,
            other.auxiliary_layers,
        )
        assert set(other.data.tasks) - set(stage.data.tasks) == ({"cmnli", "chid"} if stage.data.tasks else set())


def test_what_is_finished_is_not_run_again(root: Path) -> None:
    assert study.main(arguments(root)) == 0
    expected = [call for part in queue() for call in calls_of(part)]
    assert calls(root) == expected
    (root / "out" / "seed=2" / "mitkd" / "few" / "evaluation.json").unlink()
    assert study.main(arguments(root)) == 0
    assert calls(root)[len(expected) :] == ["evaluate seed=2/mitkd"]


def test_several_at_a_time_wait_for_what_they_need(root: Path) -> None:
    assert study.main(arguments(root, "--jobs", "3")) == 0
    begun = calls(root)
    assert sorted(begun) == sorted(call for part in queue() for call in calls_of(part))
    ended = {}  # part to the number of calls that had begun when its last command ended
    for line in (root / "ends").read_text().splitlines():
        _, name, number = line.split()
        ended[name] = int(number)
    for part in queue():
        position = begun.index(f"train {part.name}")
        assert part.base is None or ended[part.base] <= position
    assert any(number > begun.index(f"train {name}") + 1 for name, number in ended.items())  # not one by one


def test_the_threads_are_shared(root: Path) -> None:
    alone, beside = (study.parse_args(arguments(root, *more)) for more in ((), ("--jobs", "2")))
    first = queue()[0]
    assert load_config(first.file, study.overrides(beside, first)).runtime.threads == 1
    assert load_config(first.file, study.overrides(alone, first)).runtime.threads == study.THREADS == 2


def test_no_job_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.parse_args(arguments(root, "--jobs", "0"))
    assert "--jobs 0: at least one run at a time" in capsys.readouterr().err


def test_two_queues_do_not_work_in_one_folder(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_lock(root / "out"):
        assert study.main(arguments(root)) == 2
    assert str(os.getpid()) in capsys.readouterr().err and not (root / "calls").exists()


def test_only_what_is_asked_for_is_run(root: Path) -> None:
    assert study.main(arguments(root, "--only", "teach*")) == 0
    assert calls(root) == [f"train {TEACHERS}"]


def test_nothing_that_needs_a_failed_run_is_begun(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "fail train gd").touch()
    assert study.main(arguments(root, "--only", TEACHERS, "seed=1/*")) == 1
    said = capsys.readouterr().err
    begun = calls(root)
    for name in ("gd", "four-stages", "without-ged"):
        assert f"seed=1/{name} failed" in said
    assert "train seed=1/gd" in begun and "train seed=1/four-stages" not in begun
    assert "train seed=1/without-gd" in begun


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_queue_and_its_run(root: Path, number: signal.Signals) -> None:
    (root / "wait").touch()
    program = f"""
import sys
from pathlib import Path
from benchmarks.quality.real_teacher import run
run.TOOLS = Path({str(root)!r})
sys.exit(run.main(sys.argv[1:]))
"""
    environment = {**os.environ, "PYTHONPATH": str(RUN.parents[3])}
    command: list[Any] = [sys.executable, "-c", program, *arguments(root)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as queue_process:
        deadline = time.monotonic() + 60
        while not (root / "calls").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        queue_process.send_signal(number)
        assert queue_process.wait(30) == 128 + number
    assert calls(root) == [f"train {TEACHERS}"]
    assert study.state(queue()[0], root / "out") == "begun"


def test_tokenised_text_is_shared(tmp_path: Path) -> None:
    (tmp_path / "unenhanced/corpora/general").mkdir(parents=True)
    (tmp_path / "unenhanced/corpora/general/tokens.bin").write_bytes(b"text")
    study.share_text(tmp_path / "unenhanced/corpora", tmp_path / "gd/corpora")
    shared = tmp_path / "gd/corpora/general/tokens.bin"
    assert shared.read_bytes() == b"text" and shared.stat().st_nlink == 2
    study.share_text(tmp_path / "unenhanced/corpora", tmp_path / "gd/corpora")  # is there: stays
    study.share_text(tmp_path / "none/corpora", tmp_path / "other/corpora")
    assert not (tmp_path / "other").exists()


def test_a_shortened_run_has_a_share_of_every_stage(tmp_path: Path) -> None:
    args = study.parse_args(["--data", "d", "--teacher", "t", "--output", str(tmp_path), "--part", "0.01"])
    first = next(part for part in queue() if part.name == NANO)
    run = load_config(first.file, study.overrides(args, first))
    assert run.stage("finetune").optim.epochs == pytest.approx(0.02)
    assert run.stage("enhance").optim.max_steps == 11
    assert run.report.examples == study.SMOKE_EXAMPLES


def test_the_list_has_the_work_that_a_shortened_run_foretells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"sentence": "新闻", "sentence1": "新闻", "sentence2": "消息"}
    for name, label in (("tnews_public/train", "100"), ("ocnli_public/train.50k", "neutral")):
        file = tmp_path / f"clue/{name}.json"
        file.parent.mkdir(parents=True)
        file.write_text("".join(to_json({**row, "label": label}) + "\n" for _ in range(640)), encoding="utf-8")
        (file.parent / "dev.json").touch()
    stages = [
        StageResult("finetune-teacher", task, "teacher", 2, 400, 36.0, 1, None, {}, flops=1.0e9)
        for task in ("tnews", "ocnli")
    ]
    write_results(tmp_path / "smoke" / TEACHERS, to_json(to_record(Results("made", [], {}, {}, {}, {}, {}, stages))))
    smoke = ["--list", "--smoke", str(tmp_path / "smoke"), "--only", TEACHERS, ENHANCED]
    assert study.main(arguments(tmp_path, *smoke)) == 0
    first, second, total = capsys.readouterr().out.splitlines()
    # 640 rows twice in batches of 32 are 40 steps, twenty times what was run
    work = "80 steps 0.02 M tokens 4.00e+10 FLOPs 0.40 h"
    assert " ".join(first.split()) == f"waiting {TEACHERS} {work}"
    assert second.split() == ["waiting", ENHANCED]
    assert total.startswith("all that was measured: 0.4 h")

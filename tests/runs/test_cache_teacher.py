"""A teacher's cache that is written ahead of its stage is the one that the stage reads."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Optional

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.distill.teacher import LiveTeacher
from ernie_tiny.errors import InputError
from ernie_tiny.runs.pipeline import cache_teacher
from ernie_tiny.training import teacher_engine as engines
from ernie_tiny.training.interruption import Interruption
from ernie_tiny.training.stage import cache_stage, run_stage
from ernie_tiny.training.workspace import Workspace

CONFIG = """
name: tiny
tokenizer: {build_from: general, vocab_size: 60}
runtime: {visualdl: false}
models:
  teacher: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}
  student: {num_hidden_layers: 1, hidden_size: 4, num_attention_heads: 2, max_position_embeddings: 16}
data:
  tasks:
    mine: &task
      kind: classification
      files: {train: [train.jsonl], dev: [dev.jsonl]}
      texts: [text]
      labels: [a, b]
      max_length: 16
    yours: *task
  corpora: {general: {files: [general.txt]}}
stages:
  - name: learn
    train: teacher
    per_task: true
    data: {tasks: [mine, yours]}
    objective: {hard: {}}
    optim: {epochs: 1, batch_size: 4}
  - name: TSD
    train: student
    teacher: teacher@learn
    per_task: true
    data: {tasks: [mine, yours]}
    cache: {precision: float32}
    objective: {soft: {}, hidden: {}, hard: {}}
    optim: {epochs: 2, batch_size: 4}
  - name: GD
    train: student
    teacher: teacher
    data: {corpus: general, max_length: 8}
    cache: {precision: float32}
    objective: {hidden: {}}
    optim: {max_steps: 4, batch_size: 4}
"""
TEXT = "今天北京的天气很好我们去公园看花"


def load(folder: Path, *overrides: str):
    folder.joinpath("run.yaml").write_text(CONFIG, encoding="utf-8")
    folder.joinpath("general.txt").write_text(f"{TEXT}\n" * 5, encoding="utf-8")
    for number, split in enumerate(("train", "dev")):
        rows = [{"text": TEXT[n : n + 5 + number], "label": "ab"[n % 2]} for n in range(8)]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        folder.joinpath(f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return load_config(folder / "run.yaml", [f"data.root={folder}", f"output_dir={folder}/run", *overrides])


def run(folder: Path, name: str) -> None:
    workspace = Workspace(load(folder))
    for task in ("mine", "yours"):
        run_stage(workspace, workspace.run.stage(name), task, Interruption())


def test_training_after_it_never_runs_the_teacher(tmp_path, monkeypatch, caplog):
    run(tmp_path, "learn")
    cache_teacher(load(tmp_path), "TSD")
    for task in ("mine", "yours"):
        assert {path.name for path in (tmp_path / "run" / "stages" / "TSD" / task).iterdir()} == {"teacher_cache"}

    def forbidden(*_):
        raise AssertionError("the teacher was run")

    monkeypatch.setattr(LiveTeacher, "__call__", forbidden)
    cache_teacher(load(tmp_path), "TSD")  # what is there stays
    run(tmp_path, "TSD")
    caplog.clear()
    with caplog.at_level("INFO"):
        cache_teacher(load(tmp_path), "TSD")
    assert "TSD/mine: is finished and needs no cache" in caplog.text
    run(tmp_path, "learn")


def test_without_the_cache_the_teacher_would_be_run(tmp_path, monkeypatch):
    run(tmp_path, "learn")
    calls = []
    monkeypatch.setattr(LiveTeacher, "__call__", lambda *_: calls.append(1) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, "TSD")
    assert calls


@pytest.mark.parametrize(
    ("overrides", "name", "message"),
    [
        ((), "TSD", r"teacher@learn: that stage is not finished \(.*stages/learn/mine/model is not there\)"),
        ((), "TDS", "--stage TDS: tiny has no such stage. Did you mean 'TSD'"),
        ((), "learn", "stages.learn.teacher: is missing"),
        (("stages.TSD.cache=null",), "TSD", "stages.TSD.cache: is missing"),
    ],
)
def test_what_cannot_be_cached_is_refused(overrides, name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        cache_teacher(load(tmp_path, *overrides), name)


def cache(folder: Path, name: str, task: Optional[str], *overrides: str) -> None:
    """Writes or reads the cache that runs share, in a folder of its own beside the run's."""
    workspace = Workspace(load(folder, f"stages.{name}.cache.folder={folder}/shared", *overrides))
    cache_stage(workspace, workspace.run.stage(name), task)


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.joinpath("shared").rglob("*.bin")}


def test_other_examples_than_a_shared_cache_holds_are_refused_before_training(tmp_path):
    run(tmp_path, "learn")
    cache(tmp_path, "TSD", "mine", "stages.TSD.data.examples=6")
    before = written(tmp_path)
    with pytest.raises(
        InputError,
        match=r"shared/TSD/mine: .* was written for other inputs; it lacks 2 of 8 of TSD/mine, so the examples or "
        r"max_length differ. Undo the change, give stages.TSD.cache.folder another folder, or remove this one",
    ):
        cache(tmp_path, "TSD", "mine")
    cache(tmp_path, "TSD", "mine", "stages.TSD.data.examples=3")  # all of them are there
    assert before and written(tmp_path) == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("stages.GD.data.max_length=7",), "lacks 4 of 4 of GD, so the text, its length or the seed differ"),
        (("stages.GD.optim.max_steps=5",), "fewer steps; it holds 16 rows of text, and GD reads 20"),
        (("stages.GD.optim.max_steps=6", "stages.GD.optim.batch_size=2"), None),
    ],
)
def test_other_text_than_a_shared_cache_holds_is_refused_before_training(overrides, said, tmp_path):
    cache(tmp_path, "GD", None)
    with pytest.raises(InputError, match=said) if said else nullcontext():
        cache(tmp_path, "GD", None, *overrides)


def test_a_shared_cache_says_on_which_engine_auto_runs(tmp_path, monkeypatch):
    """What is fastest may be another one at another time, or on another machine."""
    auto, chosen = "runtime.teacher_engine=auto", []

    def tried(_):
        chosen.append(engines.TeacherEngine("dygraph", "float32", "any"))
        return chosen

    monkeypatch.setattr(engines, "candidates", tried)
    cache(tmp_path, "GD", None, "runtime.teacher_engine=paddle")
    cache(tmp_path, "GD", None, auto)
    assert not chosen
    with pytest.raises(InputError, match=r"different: engine \(paddle in float32 there, dygraph in float32 now\)"):
        cache(tmp_path, "GD", None)

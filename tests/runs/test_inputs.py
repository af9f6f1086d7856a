"""What a run reads may not change between stop and resume, unless somebody says so."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Callable

import pytest

from ernie_tiny.config import RunConfig, load_config, to_yaml
from ernie_tiny.errors import InputError
from ernie_tiny.files import write_record
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.runs import inputs
from ernie_tiny.runs.inputs import INPUTS_FILE, guard_inputs
from ernie_tiny.runs.plan import check_data
from ernie_tiny.runs.preflight import check_run
from ernie_tiny.training.tasks import task_reader, task_specs
from ernie_tiny.training.workspace import Workspace

CONFIG = """
name: toy
models:
  student: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}
  teacher: {pretrained: TEACHER}
tokenizer: {build_from: general, vocab_size: 60}
data:
  root: ROOT
  tasks:
    mine: {kind: classification, texts: [text], labels: [a, b], files: {train: [train.jsonl], dev: [dev.jsonl]}}
    late: {kind: classification, texts: [text], labels: [a, b], files: {train: [late.jsonl], dev: [late_dev.jsonl]}}
  corpora: {general: {files: [text.txt]}}
stages:
  - {name: first, train: student, teacher: teacher, data: {corpus: general, max_length: 8}, objective: {hidden: {}},
     optim: {max_steps: 1, batch_size: 2}}
  - {name: second, train: student@first, per_task: true, data: {tasks: [mine, late], max_length: 8},
     objective: {hard: {}}, optim: {max_steps: 1, batch_size: 2}}
report: {student: student@second, tasks: [mine]}
"""
OF_A_BASE = """{name: third, train: student@first, data: {tasks: [mine], max_length: 8}, objective: {hard: {}},
optim: {max_steps: 1, batch_size: 2}}"""
SHAPE = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 30}


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    build_encoder("bert", SHAPE).save_pretrained(str(tmp_path / "teacher"), safe_serialization=True)
    root = tmp_path / "data"
    root.mkdir()
    for name in ("train", "dev", "late", "late_dev"):
        rows = [json.dumps({"text": f"{name}{number}", "label": "ab"[number % 2]}) for number in range(4)]
        (root / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "text.txt").write_text("今天天气很好\n", encoding="utf-8")
    text = CONFIG.replace("ROOT", str(root)).replace("TEACHER", str(tmp_path / "teacher"))
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    run = load_config(tmp_path / "run.yaml", [f"output_dir={tmp_path}/run"])
    guard_inputs(run, Path(run.folder))
    (tmp_path / "run/stages").mkdir()
    return run


def finish(run: RunConfig, part: str) -> None:
    (Path(run.folder) / "stages" / part).mkdir(parents=True)
    (Path(run.folder) / "stages" / part / "result.json").write_text("{}", encoding="utf-8")


def turn_labels(path: Path) -> None:
    """Another content of the same size."""
    path.write_text(path.read_text(encoding="utf-8").translate({97: 98, 98: 97}), encoding="utf-8")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


FILES = {
    "data/train.jsonl": "train.jsonl (mine, train)",
    "data/dev.jsonl": "dev.jsonl (mine, dev)",
    "data/late.jsonl": "late.jsonl (late, train)",
    "data/text.txt": "text.txt (data.corpora.general.files)",
    "teacher/model.safetensors": "model.safetensors (models.teacher.pretrained)",
    "teacher/config.json": "config.json (models.teacher.pretrained)",
}


@pytest.mark.parametrize("change", [shorten, lengthen])
@pytest.mark.parametrize("file", FILES)
def test_a_changed_file_is_refused_by_name(
    run: RunConfig, tmp_path: Path, file: str, change: Callable[[Path], None]
) -> None:
    change(tmp_path / file)
    with pytest.raises(InputError) as caught:
        guard_inputs(run, Path(run.folder))
    assert f"have changed since it began: {FILES[file]}. Put them back, or give -o" in str(caught.value)


def test_another_content_of_the_same_size_is_refused(run: RunConfig, tmp_path: Path) -> None:
    turn_labels(tmp_path / "data/train.jsonl")
    with pytest.raises(InputError, match=r"since it began: train\.jsonl \(mine, train\)\. Put"):
        guard_inputs(run, Path(run.folder))


def test_a_file_that_is_put_back_or_touched_is_the_same(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data/train.jsonl"
    os.utime(file, (1, 1))
    guard_inputs(run, Path(run.folder))
    monkeypatch.setattr(inputs, "file_checksum", lambda path: pytest.fail(f"{path} was read again"))
    guard_inputs(run, Path(run.folder))  # the new time is known now


def test_a_removed_record_takes_the_files_as_they_are(run: RunConfig, tmp_path: Path) -> None:
    turn_labels(tmp_path / "data/train.jsonl")
    (Path(run.folder) / INPUTS_FILE).unlink()
    guard_inputs(run, Path(run.folder))
    guard_inputs(run, Path(run.folder))


def test_files_may_change_until_something_is_made_of_them(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "run/stages").rmdir()
    turn_labels(tmp_path / "data/train.jsonl")  # as somebody does who is told that they are wrong
    guard_inputs(run, Path(run.folder))
    (tmp_path / "run/stages").mkdir()
    guard_inputs(run, Path(run.folder))
    turn_labels(tmp_path / "data/train.jsonl")
    with pytest.raises(InputError, match=r"train\.jsonl \(mine, train\)"):
        guard_inputs(run, Path(run.folder))


def test_faults_of_data_are_found_before_a_vocabulary_is_kept(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "teacher/vocab.txt").touch()
    (tmp_path / "data/train.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.jsonl:1: is not JSON"):
        check_run(run, task_reader(run, task_specs(run)), lambda: pytest.fail("the tokenizer was made"))


def test_weights_that_come_into_a_pretrained_folder_are_refused(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "teacher/notes.txt").touch()
    guard_inputs(run, Path(run.folder))
    (tmp_path / "teacher/model_state.pdparams").touch()
    with pytest.raises(InputError, match=r"since it began: model_state\.pdparams \(models\.teacher\.pretrained\)\. "):
        guard_inputs(run, Path(run.folder))


def test_files_of_finished_stages_alone_may_change(run: RunConfig, tmp_path: Path) -> None:
    finish(run, "first")
    finish(run, "second/late")
    shorten(tmp_path / "data/text.txt")
    shorten(tmp_path / "teacher/model.safetensors")
    guard_inputs(run, Path(run.folder))
    shorten(tmp_path / "data/late.jsonl")
    with pytest.raises(InputError, match="late.jsonl"):  # of a stage of which another part is still to train
        guard_inputs(run, Path(run.folder))


def test_general_text_of_finished_stages_alone_may_change_and_go(run: RunConfig, tmp_path: Path) -> None:
    Workspace(run).prepare()
    text = tmp_path / "data/text.txt"
    lengthen(text)
    with pytest.raises(InputError, match="the text has changed since"):
        Workspace(run).prepare()
    finish(run, "first")
    for change in (shorten, shorten, Path.unlink):
        change(text)
        check_data(run)
        Workspace(run).prepare()
    shutil.rmtree(Path(run.folder) / "tokenizer")
    with pytest.raises(InputError, match=r"data\.corpora\.general\.files"):  # which is made of it
        check_data(run)


def test_dev_files_that_are_still_to_be_scored_may_not_change(run: RunConfig, tmp_path: Path) -> None:
    for part in ("first", "second/mine", "second/late"):
        finish(run, part)
    shorten(tmp_path / "data/train.jsonl")
    guard_inputs(run, Path(run.folder))
    turn_labels(tmp_path / "data/dev.jsonl")
    with pytest.raises(InputError, match=r"dev\.jsonl \(mine, dev\)"):
        guard_inputs(run, Path(run.folder))


def test_a_moved_data_root_is_the_same(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    moved = load_config(tmp_path / "run.yaml", [f"output_dir={tmp_path}/run", f"data.root={tmp_path}/elsewhere"])
    guard_inputs(moved, Path(run.folder))


def test_a_damaged_record_is_named(run: RunConfig) -> None:
    (Path(run.folder) / INPUTS_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"inputs\.json: is damaged.*Remove it to go on with the files as they are"):
        guard_inputs(run, Path(run.folder))


def test_a_pretrained_folder_behind_init_from_is_guarded(run: RunConfig, tmp_path: Path) -> None:
    """The stage loads the student, which loads the teacher's layers."""
    student = "{family: bert, num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, intermediate_size: 16,"
    overrides = [f"models.student={student} init_from: teacher, init_layers: [0]}}", "stages.first.objective={mlm: {}}"]
    overrides += ["stages.first.teacher=null", f"output_dir={tmp_path}/other"]
    run = load_config(tmp_path / "run.yaml", overrides)
    guard_inputs(run, Path(run.folder))
    (tmp_path / "other/stages").mkdir()
    shorten(tmp_path / "teacher/model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors \(models\.teacher\.pretrained\)"):
        guard_inputs(run, Path(run.folder))


def test_a_model_of_the_base_run_is_guarded(run: RunConfig, tmp_path: Path) -> None:
    base = Path(run.folder)
    (base / "config.yaml").write_text(to_yaml(run), encoding="utf-8")
    manifest = base / "stages/first/model/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"model.safetensors": "1"}', encoding="utf-8")
    text = f"{{name: more, base_run: {base}, models: {{}}, data: {{root: {run.data.root}}}, stages: [{OF_A_BASE}]}}"
    (tmp_path / "more.yaml").write_text(text, encoding="utf-8")
    more = load_config(tmp_path / "more.yaml", [f"output_dir={tmp_path}/more"])
    guard_inputs(more, tmp_path / "more")
    (tmp_path / "more/stages").mkdir()
    guard_inputs(more, tmp_path / "more")
    manifest.write_text('{"model.safetensors": "2"}', encoding="utf-8")  # the base was removed and trained anew
    said = r"since it began: stages/first/model/manifest\.json \(base_run\)\. "
    with pytest.raises(InputError, match=said):
        guard_inputs(more, tmp_path / "more")
    record = tmp_path / "more" / INPUTS_FILE
    known = {key: state for key, state in inputs._known(tmp_path / "more").items() if "base_run" not in key}
    write_record(record, {"files": known})  # as a run has it that an earlier version began
    guard_inputs(more, tmp_path / "more")
    assert "stages/first/model/manifest.json (base_run)" in inputs._known(tmp_path / "more")

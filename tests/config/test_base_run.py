"""A run may name the stages and models of a finished one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ernie_tiny.config import load_config, to_yaml
from ernie_tiny.errors import InputError

BASE_RUN = """
name: base
data:
  tasks:
    mine: {kind: classification, files: {train: [a.jsonl], dev: [b.jsonl]}, texts: [text], labels: [x, y]}
  corpora: {general: {files: [old.txt]}}
models:
  teacher: {num_hidden_layers: 4, hidden_size: 24, num_attention_heads: 2}
stages:
  - name: enhance
    train: teacher
    data: {tasks: [tnews, mine]}
    objective: {hard: {}}
    optim: {max_steps: 10, batch_size: 4}
"""
GOES_ON = """
name: more
base_run: FOLDER
models:
  student: {num_hidden_layers: 2, hidden_size: 12, num_attention_heads: 2}
stages:
  - name: distil
    train: student
    teacher: teacher@enhance
    data: {tasks: [tnews]}
    objective: {soft: {}}
    optim: {max_steps: 10, batch_size: 4}
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def base_run(folder: Path) -> Path:
    """A run's folder with its merged config: a teacher that was enhanced."""
    config = written(folder / "base.yaml", BASE_RUN)
    (folder / "base").mkdir()
    (folder / "base" / "config.yaml").write_text(to_yaml(load_config(config)), encoding="utf-8")
    return folder / "base"


def test_a_run_may_go_on_from_another(tmp_path):
    folder = base_run(tmp_path)
    run = load_config(written(tmp_path / "more.yaml", GOES_ON.replace("FOLDER", str(folder))))
    assert list(run.models) == ["teacher", "student"]
    assert [(stage.name, stage.taken_from) for stage in run.stages] == [("enhance", str(folder)), ("distil", None)]
    assert list(run.data.tasks) == ["mine"]
    assert run.data.corpora["general"].files == ("old.txt",)
    assert load_config(written(tmp_path / "again.yaml", to_yaml(run))) == run  # as a run's folder keeps it


def test_files_of_a_task_or_a_corpus_may_differ_and_labels_may_not(tmp_path):
    folder = base_run(tmp_path)
    config = written(tmp_path / "more.yaml", GOES_ON.replace("FOLDER", str(folder)))
    files = "files: {train: [c.jsonl], dev: [d.jsonl]}"
    moved = f"data.tasks.mine={{kind: classification, {files}, texts: [text], labels: [x, y]}}"
    run = load_config(config, [moved, "data.corpora.general.files=[new.txt]"])
    assert run.data.tasks["mine"].files["train"] == ("c.jsonl",)
    assert run.data.corpora["general"].files == ("new.txt",)
    with pytest.raises(InputError, match="data.tasks.mine.labels differ from those of base_run"):
        load_config(config, [moved.replace("[x, y]", "[y, x]")])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("teacher@enhance", "teacher@enhanced"), "Did you mean 'enhance'"),
        (("name: distil", "name: enhance"), "stands twice"),
        (("student: {num", "teacher: {num"), "models.teacher differs from that of base_run"),
        (("base_run: ", "base_run: no/"), "holds no config.yaml"),
    ],
)
def test_what_a_run_goes_on_from_must_be_there_and_agree(tmp_path, change, said):
    text = GOES_ON.replace("FOLDER", str(base_run(tmp_path))).replace(*change)
    with pytest.raises(InputError, match=said):
        load_config(written(tmp_path / "more.yaml", text))

"""A path means one place wherever it is given, and a place that runs share is written by one of them at a time."""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from ernie_tiny.cli.arguments import paths_at_home
from ernie_tiny.config.load import PATHS, load_config
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.errors import InputError
from ernie_tiny.files import alone_at, at_home, whole_folder

CONFIG = """
name: toy
models: {student: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16},
         teacher: {pretrained: ~/teacher}}
tokenizer: {vocab: ~/vocab.txt}
data:
  root: ~/data
  tasks:
    mine: {kind: classification, texts: [text], labels: [a, b], files: {train: [~/train.jsonl], dev: [dev.jsonl]}}
output_dir: ~/run
stages:
  - name: s
    train: student
    teacher: teacher
    data: {tasks: [mine], max_length: 8}
    cache: {folder: ~/cache}
    objective: {hidden: {}}
    optim: {max_steps: 1, batch_size: 2}
"""
SHAPE = '"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_every_path_of_a_config_is_in_the_home_folder(home: Path) -> None:
    (home / "run.yaml").write_text(CONFIG)
    (home / "teacher").mkdir()
    rest = '"model_type": "bert", "intermediate_size": 32, "vocab_size": 9, "max_position_embeddings": 16'
    (home / "teacher" / "config.json").write_text(f"{{{SHAPE}, {rest}}}")
    run = load_config("~/run.yaml")
    assert run.folder == str(home / "run")
    assert run.data.root == str(home / "data")
    assert run.data.tasks["mine"].files == {"train": (str(home / "train.jsonl"),), "dev": ("dev.jsonl",)}
    assert run.tokenizer.vocab == str(home / "vocab.txt")
    assert run.models["teacher"].pretrained == str(home / "teacher")
    assert run.stages[0].cache is not None and run.stages[0].cache.folder == str(home / "cache")


def keys_of(schema: type) -> Iterator[str]:
    """Every key of the schema, in all blocks."""
    for name, kind in get_type_hints(schema).items():
        yield name
        for part in (kind, *getattr(kind, "__args__", ())):
            for inner in (part, *getattr(part, "__args__", ())):
                if dataclasses.is_dataclass(inner):
                    yield from keys_of(inner)  # type: ignore[arg-type]


def test_every_key_that_names_a_place_is_known_as_one() -> None:
    names = set(keys_of(RunConfig))
    assert set(PATHS) <= names
    assert {name for name in names if name.endswith(("dir", "folder", "root", "files", "file", "path"))} <= set(PATHS)


def test_a_base_of_a_config(home: Path) -> None:
    (home / "base.yaml").write_text(CONFIG.replace("{pretrained: ~/teacher}", f"{{{SHAPE}}}"))
    (home / "own.yaml").write_text("_BASE_: ~/base.yaml\nname: own\n")
    assert load_config(home / "own.yaml").name == "own"


def test_paths_of_a_command_line(home: Path) -> None:
    values: Any = argparse.Namespace(model=Path("~/m"), runs=[Path("~/a"), Path("b")], name="~", none=None)
    found = paths_at_home(values)
    assert (found.model, found.runs, found.name) == (home / "m", [home / "a", Path("b")], "~")


def test_a_home_that_is_nobodys() -> None:
    with pytest.raises(InputError, match=r"no user 'nobody-of-that-name' has a home here\. Write \./~nobody"):
        at_home("~nobody-of-that-name/run")
    assert at_home("a/~") == "a/~"


def hold(place: Path, log: Path, seconds: float) -> None:
    with alone_at(place):
        with log.open("a") as file:
            file.write("in\n")
        time.sleep(seconds)
        with log.open("a") as file:
            file.write("out\n")


def holder(folder: Path, seconds: float) -> Any:
    context = multiprocessing.get_context("fork")
    return context.Process(target=hold, args=(folder / "at", folder / "log", seconds))


def test_one_is_alone_and_the_others_wait(tmp_path: Path) -> None:
    started = [holder(tmp_path, 0.1) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert (tmp_path / "log").read_text().split() == ["in", "out"] * 4


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    process = holder(tmp_path, 60)
    process.start()
    while not (tmp_path / "log").is_file():
        time.sleep(0.01)
    process.kill()
    process.join()
    with alone_at(tmp_path / "at"):
        pass


def test_a_folder_behind_a_link_is_written_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for text in ("first", "second"):
        with whole_folder(tmp_path / "link") as partial:
            (partial / "file").write_text(text, encoding="utf-8")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "file").read_text(encoding="utf-8") == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]

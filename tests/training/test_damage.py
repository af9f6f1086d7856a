"""A byte that changed in what a run has written is found before it is used, wherever it is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.files import whole_folder
from ernie_tiny.models.multitask import save_model
from ernie_tiny.training.checkpoint import latest_checkpoint
from ernie_tiny.training.workspace import Workspace
from tests.training.small_stage import Stream, run

PLACES = 50
CONFIG = """
name: toy
tokenizer: {build_from: general, vocab_size: 40}
data: {corpora: {general: {files: [general.txt]}}}
models: {teacher: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}}
stages:
  - name: pretrain
    train: teacher
    data: {corpus: general}
    objective: {mlm: {}}
    optim: {max_steps: 3, batch_size: 4}
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage's folder with the checkpoints of steps 3 and 6."""
    folder = tmp_path_factory.mktemp("stage")
    run(folder, Stream())
    return folder


@contextmanager
def changed(file: Path, content: bytes) -> Iterator[None]:
    whole = file.read_bytes()
    assert content != whole
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(whole)


def damages(folder: Path, seed: int) -> Iterator[tuple[Path, bytes]]:
    """Fifty files cut off somewhere, and fifty with a flipped bit."""
    draw, files = random.Random(seed), sorted(path for path in folder.rglob("*") if path.is_file())
    for number in range(2 * PLACES):
        file = draw.choice(files)
        content = bytearray(file.read_bytes())
        offset = draw.randrange(len(content))
        if number % 2:
            content[offset] ^= 1 << draw.randrange(8)
            yield file, bytes(content)
        else:
            yield file, bytes(content[:offset])


def test_a_damaged_checkpoint_is_never_used(stage: Path, caplog: pytest.LogCaptureFixture) -> None:
    for file, content in damages(stage / "checkpoint-6", seed=1):
        caplog.clear()
        with changed(file, content):
            assert latest_checkpoint(stage) == stage / "checkpoint-3", file
        assert "checkpoint-6 is damaged" in caplog.text
    assert latest_checkpoint(stage) == stage / "checkpoint-6"


def workspace_in(folder: Path) -> Workspace:
    (folder / "toy.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "general.txt").write_text("今天北京的天气很好我们去公园看花\n\n" * 8, encoding="utf-8")
    run = load_config(folder / "toy.yaml", [f"data.root={folder}", f"output_dir={folder}/run"])
    return Workspace(run)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose tokenizer, corpus and first model are there."""
    folder = tmp_path_factory.mktemp("prepared")
    workspace = workspace_in(folder)
    workspace.prepare()
    with whole_folder(workspace.model_folder("teacher@pretrain")) as target:
        save_model(workspace.model("teacher"), target)
    return folder


@pytest.mark.parametrize(
    ("part", "remedy"),
    [
        ("tokenizer", "Remove it: it is made anew from the same source"),
        ("corpora/general", "Remove it: it is made anew from the same text"),
        ("stages/pretrain/model", "stages/pretrain and run the same command again to repeat the stage"),
    ],
)
def test_a_damaged_part_of_a_run_is_refused_with_the_way_to_mend_it(part: str, remedy: str, prepared: Path) -> None:
    for file, content in damages(prepared / "run" / part, seed=2):
        with changed(file, content), pytest.raises(InputError) as error:
            workspace = workspace_in(prepared)
            workspace.prepare()
            workspace.model("teacher@pretrain")
        assert f"{part}: is damaged" in str(error.value) and remedy in str(error.value)
    workspace = workspace_in(prepared)
    workspace.prepare()
    workspace.model("teacher@pretrain")


def test_text_that_changes_under_a_run_is_refused(prepared: Path) -> None:
    workspace = workspace_in(prepared)
    with changed(prepared / "general.txt", b"abc\n"), pytest.raises(InputError, match="the text has changed since"):
        workspace.prepare()

"""What a command line names wrongly is one line and exit code 2, before Paddle is imported and without leftovers.

Below, what is wrong stands behind a "!"; the line names it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ernie_tiny import runtime
from ernie_tiny.cli.command import main
from ernie_tiny.cli.export import FORMATS
from ernie_tiny.cli.serve import served_folders
from ernie_tiny.errors import InputError
from ernie_tiny.files import seal
from ernie_tiny.runs.references import replaceable

CONFIG = """
name: mine
models: {student: {family: ernie, num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2}}
data: {tasks: {mine: {kind: classification, texts: [text], labels: ["0", "1"], files: {train: t.jsonl, dev: d.jsonl}}}}
tokenizer: {vocab: vocab.txt}
stages: [{name: s, train: student, per_task: true, data: {tasks: [mine]}, objective: {hard: {}},
          optim: {learning_rate: 1e-3, max_steps: 3, batch_size: 4}}]
report: {student: student@s}
"""
LONG = "n" * 300


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command lines run: a run's folder, a file, a folder, and a Paddle that fails when it is imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "file").touch()
    (tmp_path / "text").touch()
    (tmp_path / "empty").mkdir()

    def importing() -> None:
        raise AssertionError("work has begun")

    monkeypatch.setattr(runtime, "_import_paddle", importing)
    return tmp_path


def error_of(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    said = capsys.readouterr()
    assert (caught.value.code, said.out) == (2, ""), said
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    return said.err


EVALUATE, EXPORT = "evaluate --run run", "export --run run --task mine --model student@s"
PREDICT, PRUNE = "predict --models run --data .", "prune-vocabulary --model run --texts text"
SEARCH = "search -c run/config.yaml --grid seed=1,2"


@pytest.mark.parametrize(
    ("row", "command"),
    [
        ("F14", "infer --model run --input gone.jsonl"),
        ("F15", "infer --model run --input empty"),
        ("F16", f"{EXPORT} --output file"),
        ("F17", f"{EXPORT} --output {LONG}"),
        ("F34", "serve --models x/a y/a"),
        ("F37", "benchmark --models x/a --chart speeds.pdf"),
        ("F22", "export --run run --model student@s"),
        ("F18", "export --run run --task mine --model studnt@s"),
        ("F43", "evaluate --run run --tasks tnews"),
        ("F44", "evaluate --run run -o report.student=null"),
        ("F20", f"{PREDICT} --output empty"),
    ],
)
def test_rows(row: str, command: str, folder: Path, capsys: pytest.CaptureFixture[str], says) -> None:
    says(row, error_of(command, folder, capsys))


@pytest.mark.parametrize(
    "command",
    [
        *(f"{tool} --output !{place}" for tool in (EVALUATE, EXPORT, "report run", PRUNE, SEARCH)
          for place in ("file", "file/below", LONG)),
        *(f"{PREDICT} --output !{place}" for place in ("file/a.zip", LONG)),
        *(f"download-clue --tasks tnews --root !{place}" for place in ("file", "file/below", LONG)),
        *(f"{tool} -c !{config}" for tool in ("train", "train --check", "prepare", "cache-teacher --stage s")
          for config in ("gone.yaml", "empty", "file/a.yaml", LONG)),
        *(f"{tool} --run !{run}" for tool in ("evaluate", "export --model student@s --task mine")
          for run in ("gone", "empty", "file", LONG)),
        *(f"report !{run} --output out" for run in ("gone", "empty", "file", LONG)),
        *(f"prune-vocabulary --model run --output out --texts !{file}" for file in ("gone", "empty", "file/a", LONG)),
        *(f"infer --model run --input !{file}" for file in ("file/a", LONG)),
        *(f"check-submission !{file} --data ." for file in ("gone", "empty", "file", "file/a", LONG)),
        "evaluate --run run --models !student@t", "evaluate --run run --models !teacher@s",
        "evaluate --run run --tasks !mien", "export --run run --model student@s --task !tnews",
        "evaluate --run run --split !tset", "export --run run --task mine --model !student@x",
        "export --run run --task !mien --model student@s", "export --run run --task mine --model !student",
        "train -c run/config.yaml -o output_dir=!file", "train -c run/config.yaml -o output_dir=!file/below",
        "cache-teacher -c run/config.yaml --stage !t",
    ],
    ids=lambda command: command.replace(LONG, "LONG"),
)  # fmt: skip
def test_every_reference(command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    if command.startswith(("train", "cache-teacher")) and "run/config.yaml" in command:
        monkeypatch.setattr(runtime, "_import_paddle", lambda: __import__("paddle"))
    wrong = re.search(r"!([^ ]{1,40})", command)
    assert wrong is not None and wrong[1] in error_of(command.replace("!", ""), folder, capsys)


@pytest.mark.parametrize(
    "command",
    [
        *(f"{EVALUATE} --examples {number}" for number in ("-3", "0")),
        *(f"benchmark --models run --{option}" for option in ("batches 0", "lengths -1", "seconds nan", "threads 0")),
        *(f"serve --models run --{option}" for option in ("batch 0", "room -1", "seconds inf")),
        "infer --model run --threads -3", f"{SEARCH} --output out --jobs 0", f"{PRUNE} --output out --min-count -1",
    ],
)  # fmt: skip
def test_a_number_that_is_none_of_what_is_counted(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    option, number = command.split()[-2:]
    assert caught.value.code == 2
    assert f"argument {option}: {number}: must be above 0" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["inf", "nan", "-1"])
def test_points_that_may_be_lost_are_a_number(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*EXPORT.split(), "--max-loss", number])
    assert caught.value.code == 2
    assert f"argument --max-loss: {number}: must be at least 0" in capsys.readouterr().err


def test_an_export_removes_nothing_that_is_not_one(folder: Path, capsys, says) -> None:
    (folder / "empty/mine").touch()
    says("F40", error_of(f"{EXPORT} --output empty", folder, capsys))
    for place in ("run", ".", "empty"):
        for form in ("paddle", "huggingface"):
            assert "of another origin" in error_of(f"{EXPORT} --output {place} --format {form}", folder, capsys)


@pytest.mark.parametrize("form", FORMATS)
def test_an_earlier_export_alone_is_replaced(form: str, tmp_path: Path) -> None:
    for name in FORMATS[form]:
        (tmp_path / name).touch()
    seal(tmp_path)
    replaceable("--output", tmp_path, *FORMATS[form])
    for name in ("notes", "deeper/heads.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        with pytest.raises(InputError, match="of another origin"):
            replaceable("--output", tmp_path, *FORMATS[form])
        (tmp_path / name).unlink()
    (tmp_path / "heads.json").touch()
    seal(tmp_path)  # now the model of a stage
    with pytest.raises(InputError, match="of another origin"):
        replaceable("--output", tmp_path, *FORMATS[form])


@pytest.mark.parametrize(
    ("given", "name", "folder"),
    [
        ("output/seed=1/export/tnews", "tnews", "output/seed=1/export/tnews"),
        ("./seed=1", "seed=1", "seed=1"),
        ("a=output/seed=1", "a", "output/seed=1"),
        ("a=~/x", "a", "{home}/x"),
        (".", "run", "."),
        ("~/x", "x", "{home}/x"),
        ("x/b/..", "x", "x/b/.."),
    ],
)
def test_names_and_folders_of_served_models(given: str, name: str, folder: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/of")
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    assert served_folders([given]) == {name: Path(folder.format(home="/home/of"))}


def test_what_may_not_be_used(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch, says) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may everything
    says("F19", error_of(f"{EXPORT} --output empty/out", folder, capsys))
    says("F21", error_of("infer --model run --input file", folder, capsys))

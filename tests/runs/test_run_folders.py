"""Reports are made from run folders alone, by the tool."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ernie_tiny.errors import InputError
from ernie_tiny.files import write_record
from ernie_tiny.report.results import to_record
from ernie_tiny.runs.run_folders import read_run, write_report
from ernie_tiny.training.events import EventLog
from tests.report.made_results import make, stage
from tests.tools import tool


def run_folder(folder: Path, name: str, finished: bool = True) -> Path:
    events = EventLog(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": name, "seed": 3}), encoding="utf-8")
    events.write("train_begin", stage="distil", step=0, max_steps=100)
    events.write("log", stage="distil", step=20, loss=1.5, **{"raw/relation": 1.5})
    if finished:
        events.write("stage_end", **stage("distil"))
        write_record(folder / "results.json", to_record(make(name=name)))
    return folder


def test_tool_compares_finished_and_unfinished_runs(tmp_path):
    folders = [run_folder(tmp_path / "a", "first"), run_folder(tmp_path / "b", "second", finished=False)]
    done = tool("report", *map(str, folders), "--output", str(tmp_path / "out"))
    assert done.stderr == ""
    page, table = (Path(line).read_text(encoding="utf-8") for line in done.stdout.splitlines())
    for text in (page, table):
        assert "A first" in text and "B second (unfinished)" in text and "distil, step 20 of 100" in text
    assert "A student" in page and "B student" not in page


def test_run_is_what_its_folder_holds(tmp_path):
    run = read_run(run_folder(tmp_path, "first"))
    assert run.results == make(name="first")
    assert (run.config["seed"], run.state, run.folder, len(run.events)) == (3, "", str(tmp_path), 3)
    (tmp_path / "results.json").unlink()
    assert read_run(tmp_path).results.stages[0].tokens == 12_000_000


def spoil(file: str, content: str):
    def change(folder: Path) -> None:
        (folder / file).write_text(content, encoding="utf-8")

    return change


@pytest.mark.parametrize(
    "change, said",
    [
        (spoil("results.json", "{"), r"results.json: is damaged"),
        (spoil("config.yaml", "a: ["), r"config.yaml: is damaged"),
        (spoil("config.yaml", "- 1"), r"config.yaml: holds list and no config"),
    ],
)
def test_damaged_file_is_named(change, said, tmp_path):
    change(run_folder(tmp_path, "first"))
    with pytest.raises(InputError, match=said):
        read_run(tmp_path)


def test_folder_without_a_run_and_a_run_given_twice_are_refused(tmp_path):
    with pytest.raises(InputError, match="no run's folder"):
        write_report([tmp_path], tmp_path / "out")
    run_folder(tmp_path, "first")
    with pytest.raises(InputError, match="is given twice"):
        write_report([tmp_path, tmp_path / ".." / tmp_path.name], tmp_path / "out")
    assert not (tmp_path / "out").exists()

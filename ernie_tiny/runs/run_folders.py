"""Run folders, finished or not, read back for the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import yaml
from pydantic import ValidationError

from ernie_tiny.config.load import CONFIG_FILE
from ernie_tiny.errors import InputError, first_line
from ernie_tiny.files import read_record, write_text
from ernie_tiny.report.page import report_page
from ernie_tiny.report.results import Results, from_record
from ernie_tiny.report.runs import Run, results_so_far, state_so_far
from ernie_tiny.training.events import read_events

RESULTS_FILE, REPORT_FILE, MARKDOWN_FILE = "results.json", "report.html", "report.md"
PREDICTIONS_FOLDER = "predictions"  # of a run, by the role of a model
MADE = ("tokenizer", "corpora", "stages", RESULTS_FILE)  # of a run, from its config and its data
EVALUATION_FILE = "evaluation.json"  # in the folder that tools/evaluate.py writes into


def write_report(folders: Sequence[Path], target: Path) -> list[Path]:
    """Writes a page and its tables in Markdown about the runs in these folders; gives the two files.

    Raises:
        InputError: as of read_run; or a folder is given twice.
    """
    resolved = [folder.resolve() for folder in folders]
    twice = next((folder for folder in folders if resolved.count(folder.resolve()) > 1), None)
    if twice is not None:
        raise InputError(f"{twice}: is given twice. Give each run once.")
    runs = [read_run(folder) for folder in folders]
    files = [target / REPORT_FILE, target / MARKDOWN_FILE]
    page = report_page(runs)
    write_text(files[0], page.html())
    write_text(files[1], page.markdown())
    return files


def has_begun(folder: Path) -> bool:
    """Whether a run's folder holds more than the records of a start, which a fault may have ended at once."""
    return any((folder / name).exists() for name in MADE)


def read_results(folder: Path) -> Optional[Results]:
    """What a finished run came to; None for an unfinished one.

    Raises:
        InputError: results.json is damaged.
    """
    file, remedy = folder / RESULTS_FILE, "Remove it and run again: results are made anew, nothing is trained."
    try:
        return from_record(read_record(file, remedy)) if file.is_file() else None
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise InputError(f"{file}: is damaged: {key}: {fault['msg']}. {remedy}") from error


def read_run(folder: Path) -> Run:
    """The run in a folder; of an unfinished one what its events tell.

    Raises:
        InputError: the folder holds no run, or one of its files is damaged.
    """
    results = read_results(folder)
    if results is not None:
        return finished_run(folder, results)
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(
            f"{folder}: has no {RESULTS_FILE} and no {CONFIG_FILE}, so it is no run's folder. Give the "
            "output_dir of tools/train.py."
        )
    events, config = read_events(folder), _config(folder)
    name = str(config.get("name", folder.name))
    return Run(results_so_far(name, events), events, config, state_so_far(events), str(folder))


def finished_run(folder: Path, results: Results) -> Run:
    """The run in a folder, which came to these results."""
    return Run(results, read_events(folder), _config(folder), folder=str(folder))


def _config(folder: Path) -> dict[str, Any]:
    """The merged config as plain data. It is not validated: a page can be made where data and weights are gone."""
    file = folder / CONFIG_FILE
    try:
        content = yaml.safe_load(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{file}: is damaged ({first_line(error)}). Leave the run out.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: holds {type(content).__name__} and no config. Leave the folder out.")
    return content

"""A run from its config to its results: the one place that knows the order of things."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import yaml

from ernie_tiny import processes
from ernie_tiny.config.load import to_yaml
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.data.sample import write_sample
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.report import html_page, text_table
from ernie_tiny.runtime import git_revision, versions
from ernie_tiny.training.callbacks import read_events
from ernie_tiny.training.checkpoint import write_text
from ernie_tiny.training.conclude import conclude
from ernie_tiny.training.plan import check_data
from ernie_tiny.training.preflight import check_run
from ernie_tiny.training.stage import run_stage
from ernie_tiny.training.workspace import Workspace

CONFIG_FILE, ENVIRONMENT_FILE = "config.yaml", "environment.json"
RESULTS_FILE, REPORT_FILE = "results.json", "report.html"
logger = logging.getLogger(__name__)


def run_pipeline(run: RunConfig) -> None:
    """Runs every stage that is not finished, then scores, exports and reports. Safe to repeat after a crash.

    Every process of a launch calls it: they train and score together, and the main process alone reads and writes
    what the others wait for.
    """
    folder = Path(run.folder)
    with processes.Connection():
        if not processes.from_main(lambda: _begin(run, folder)):
            return
        workspace = Workspace(run)
        check_run(run, workspace.examples, lambda: workspace.tokenizer)
        workspace.prepare()
        stages: list[dict[str, Any]] = []
        for stage in run.stages:
            for task in stage.data.tasks if stage.per_task else (None,):
                stages.append(run_stage(workspace, stage, task))
        results = conclude(workspace, stages)
        processes.from_main(lambda: _end(folder, results))


def _begin(run: RunConfig, folder: Path) -> bool:
    """Whether there is something to do."""
    record_run(run, folder)
    if (folder / RESULTS_FILE).is_file():
        print(text_table(json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))))
        print(f"All stages of {run.name} are done; results in {folder}. Remove the folder to run it again.")
        return False
    if run.data.sample:
        write_sample(Path(run.data.root))
    check_data(run)
    return True


def _end(folder: Path, results: dict[str, Any]) -> None:
    write_text(folder / REPORT_FILE, html_page(results, read_events(folder)))
    write_text(folder / RESULTS_FILE, json.dumps(results, ensure_ascii=False, indent=1))
    if results["models"]:
        print(text_table(results))
    print(f"Report: {folder / REPORT_FILE}")


def record_run(run: RunConfig, folder: Path) -> None:
    """Writes the merged config, package versions, git revision and seed before anything else.

    Raises:
        InputError: the folder holds a run of another config.
    """
    config_file, text = folder / CONFIG_FILE, to_yaml(run)
    if config_file.is_file():
        changed = _differences(yaml.safe_load(config_file.read_text(encoding="utf-8")), yaml.safe_load(text))
        changed = [key for key in changed if not key.startswith("runtime.")]
        if changed:
            raise InputError(
                f"{folder}: holds a run with another config; different: {', '.join(changed)}. Give -o "
                "output_dir=ANOTHER, undo the change, or remove the folder."
            )
    write_text(config_file, text)
    environment = {"versions": versions(), "git_revision": git_revision(), "seed": run.seed}
    write_text(folder / ENVIRONMENT_FILE, json.dumps(environment, indent=1))


def _differences(old: Any, new: Any, key: str = "") -> list[str]:
    """Dotted keys whose values differ; list elements that have a name go by it."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(name for name in new if name not in old)]
        return [
            found
            for name in names
            for found in _differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        names = [item.get("name", index) if isinstance(item, dict) else index for index, item in enumerate(old)]
        return [
            found
            for name, left, right in zip(names, old, new)
            for found in _differences(left, right, f"{key}.{name}")
        ]
    return [] if old == new else [key]

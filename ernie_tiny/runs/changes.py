"""A run folder belongs to one config: what may change of it when the run goes on, and what may not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ernie_tiny.config.load import CONFIG_FILE, load_config, to_yaml
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.errors import InputError
from ernie_tiny.files import read_record, write_record, write_text
from ernie_tiny.runs.run_folders import RESULTS_FILE, has_begun
from ernie_tiny.runtime import git_revision, versions
from ernie_tiny.training.checkpoint import STAGE_RESULT_FILE

ENVIRONMENT_FILE = "environment.json"
CONTINUED = "continued_with"  # a key of it: the environments that came after the first, in their order
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """One key of a config, dotted, with its two values."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.before} -> {self.now}"


def write_config(run: RunConfig, folder: Path) -> None:
    """Writes the merged config, package versions, git revision and seed before anything else; says what changed.

    Raises:
        InputError: the folder holds a run of another config, and what differs may not change.
    """
    for change in changes_since(run, folder):
        logger.info("changed: %s%s", change, _consequence(change))
    write_text(folder / CONFIG_FILE, to_yaml(run))
    if not (folder / RESULTS_FILE).is_file():
        _write_environment(run, folder / ENVIRONMENT_FILE)


def _write_environment(run: RunConfig, file: Path) -> None:
    """Records what the run is begun with; where it goes on with something else, that too, below."""
    now = {"versions": versions(), "git_revision": git_revision(), "seed": run.seed}
    if not file.is_file() or not has_begun(file.parent):
        write_record(file, now)
        return
    first = read_record(file, "Remove it: it only says with what the run was made.")
    later = first.pop(CONTINUED, [])
    changes = [*differences((later or [first])[-1], now)]
    for change in changes:
        logger.info("goes on in another environment: %s", change)
    if changes:
        write_record(file, {**first, CONTINUED: [*later, now]})


def changes_since(run: RunConfig, folder: Path) -> list[Change]:
    """What differs from the config that a folder holds; nothing where it holds none.

    Raises:
        InputError: what differs may not change. While nothing is made of the config, everything may.
    """
    config_file = folder / CONFIG_FILE
    if not config_file.is_file():
        return []
    changes = list(differences(yaml.safe_load(to_yaml(load_config(config_file))), yaml.safe_load(to_yaml(run))))
    refused = [change.key for change in changes if has_begun(folder) and not _may_change(change, run, folder)]
    if refused:
        raise InputError(
            f"{folder}: holds a run with another config; different: {', '.join(refused)}. Give -o "
            "output_dir=ANOTHER, undo the change, or remove the folder." + _hint(refused, folder)
        )
    return changes


def differences(before: Any, now: Any, key: str = "") -> Iterator[Change]:
    """The values that differ between two configs as plain data; lists of the same names differ by their elements."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *(name for name in now if name not in before)]:
            yield from differences(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
    elif isinstance(before, list) and isinstance(now, list) and _names(before) == _names(now):
        for name, left, right in zip(_names(before), before, now):
            yield from differences(left, right, f"{key}.{name}")
    elif before != now:
        yield Change(key, before, now)


def _names(items: list[Any]) -> list[Any]:
    return [item.get("name", index) if isinstance(item, dict) else index for index, item in enumerate(items)]


def _may_change(change: Change, run: RunConfig, folder: Path) -> bool:
    """As docs/resume.md lists it."""
    room, _, rest = change.key.partition(".")
    if room in ("report", "export"):
        return not (folder / RESULTS_FILE).is_file()
    if room == "stages" and rest:
        begun = (folder / "stages" / rest.split(".")[0]).exists()
        return not begun or rest.endswith(".optim.max_steps") and _may_grow(change, run, folder)
    if room == "runtime":
        return "precision" not in rest and rest != "teacher_engine"
    return change.key in ("output_dir", "data.root")


def _may_grow(change: Change, run: RunConfig, folder: Path) -> bool:
    """Whether a stage may have more steps: none of its parts is finished, and no cache holds just the old ones."""
    stage = run.stage(change.key.split(".")[1])
    finished = any((folder / "stages" / stage.name).rglob(STAGE_RESULT_FILE))
    rises = None not in (change.before, change.now) and change.now > change.before
    return rises and not finished and (stage.cache is None or stage.data.corpus is None)


def _consequence(change: Change) -> str:
    if not (change.key.startswith("stages.") and change.key.endswith(".optim.max_steps")):
        return ""
    return (
        ". If the stage has begun, its next step has the learning rate and the terms' weights that a stage of "
        f"{change.now} steps has there; the steps before keep theirs, so that it ends elsewhere than one that had "
        f"{change.now} steps from the start."
    )


def _hint(refused: list[str], folder: Path) -> str:
    if all(key.startswith(("report.", "export.")) for key in refused):
        return f" Or remove {folder / RESULTS_FILE}: what is reported and exported is then made anew, nothing trained."
    return ""

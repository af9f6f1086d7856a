"""A grid of settings, each with one or several seeds: every one a run of its own, and their scores side by side."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import yaml

from ernie_tiny.config.load import CONFIG_FILE, load_config, to_yaml
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.errors import InputError, offer
from ernie_tiny.files import to_json, write_text
from ernie_tiny.report.grid import AS_CONFIGURED, Trial, grid_page, grid_text, summarise_grid
from ernie_tiny.runs.changes import changes_since
from ernie_tiny.runs.children import Children
from ernie_tiny.runs.inputs import inputs_changed
from ernie_tiny.runs.lock import run_lock
from ernie_tiny.runs.plan import ready_data
from ernie_tiny.runs.run_folders import read_results
from ernie_tiny.runtime import count_cores, environment_threads
from ernie_tiny.training.tasks import report_tasks, task_specs

SEED = "seed"  # the key whose values repeat every cell
THREADS = "runtime.threads"
SEARCH_FILE, MARKDOWN_FILE, HTML_FILE, LOG_FILE = "search.json", "search.md", "search.html", "train.log"
LONGEST_NAME = 200  # bytes; file systems allow 255
NOT_IN_A_NAME = re.compile(r"[^]\w.+,=[-]+")
Grid = dict[str, list[str]]


@dataclass(frozen=True)
class Search:
    """What a search runs and compares.

    Attributes:
        run: The config without the grid.
        reference: model@stage whose scores count.
        grid: Key to values as they were written, without the seeds.
        trials: All cells with the first seed, then with the second.
        arguments: Of tools/train.py, by the folder of the trial.
    """

    run: RunConfig
    reference: str
    grid: Mapping[str, Sequence[str]]
    trials: tuple[Trial, ...]
    arguments: Mapping[str, tuple[str, ...]]


def plan_search(
    config: str, overrides: Sequence[str], grid: Sequence[str], output: Path, reference: Optional[str] = None
) -> Search:
    """The search that a config and KEY=V1,V2 items describe, every config of it validated and nothing begun.

    A `*` in a key stands for each name that the config has there. The key `seed` makes repetitions.

    Raises:
        InputError: An item or one of the configs is wrong, a folder holds a run of another config, or the report of
            the config does not compare the model whose scores are to count.
    """
    values = parse_grid(grid)
    run = load_config(config, overrides)
    task_specs(run)
    compared = run.report.models
    reference = reference or run.report.first
    if reference is None or reference not in compared.values():
        raise InputError(
            f"--score {reference}: the config's report has no such model. "
            f"{offer(str(reference), compared.values())} Or add it: -o report.others.TITLE=MODEL@STAGE."
        )
    seeds = values.pop(SEED, [str(run.seed)])
    keys = {key: _expanded(key, run) for key in values}
    if any(THREADS in expanded for expanded in keys.values()):
        raise InputError(
            f"--grid: {THREADS} cannot be searched: all runs have those of the config, shared by --jobs. Set it with "
            f"-o {THREADS}=N, or search once for each number."
        )
    trials, arguments = [], {}
    for cell, setting in _cells(values).items():
        own = [*overrides, *(f"{key}={value}" for pattern, value in setting.items() for key in keys[pattern])]
        for seed in seeds:
            folder = output / (cell if values else "") / f"seed={seed}"
            whole = [*own, f"{SEED}={seed}", f"output_dir={to_json(str(folder))}"]
            _check_trial(load_config(config, whole), folder, run, reference)
            trials.append(Trial(cell, setting, seed, str(folder)))
            arguments[str(folder)] = ("-c", config, "-o", *whole)
    trials.sort(key=lambda trial: seeds.index(trial.seed))
    return Search(run, reference, values, tuple(trials), arguments)


def _check_trial(run: RunConfig, folder: Path, base: RunConfig, reference: str) -> None:
    changes_since(run, folder)
    if reference not in run.report.models.values() or report_tasks(run) != report_tasks(base):
        raise InputError(
            f"--grid: {folder} would not score {reference} on {', '.join(report_tasks(base))}, so that it "
            "could not be compared. Take the keys that change this out of the grid."
        )


def parse_grid(items: Iterable[str]) -> Grid:
    """Key to values, each as it was written, from KEY=V1,V2 items: a comma within brackets or quotes splits nothing.

    Raises:
        InputError: An item has another form, or a key or a value stands twice.
    """
    grid: Grid = {}
    for item in items:
        key, equals, text = item.partition("=")
        try:
            node = yaml.compose(f"[{text}]", yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise InputError(f"--grid {item}: the values are not valid YAML: {error}") from None
        if not equals or not key or not isinstance(node, yaml.SequenceNode) or not node.value:
            raise InputError(f"--grid {item}: write KEY=V1,V2, as in stages.finetune.optim.learning_rate=1e-5,2e-5.")
        if key in grid:
            raise InputError(f"--grid {item}: {key} stands twice. Give all its values in one item.")
        values = [text[child.start_mark.index - 1 : child.end_mark.index - 1] for child in node.value]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise InputError(f"--grid {item}: the value {twice} stands twice.")
        grid[key] = values
    return grid


def _expanded(key: str, run: RunConfig) -> list[str]:
    """The keys that one with * stands for."""
    above, star, below = key.rpartition("*")
    if not star:
        return [key]
    places: list[tuple[str, Any]] = [("", yaml.safe_load(to_yaml(_own(run))))]
    for part in f"{above}*".split("."):
        places = [
            (f"{place}.{name}".lstrip("."), child)
            for place, node in places
            for name, child in _children(node)
            if part in ("*", name)
        ]
    if not places:
        raise InputError(f"--grid {key}: the config has nothing that the * could stand for.")
    return [place + below for place, _ in places]


def _own(run: RunConfig) -> RunConfig:
    """The run without the stages and models of its base run, of which it can set nothing."""
    base = {} if run.base_run is None else load_config(Path(run.base_run) / CONFIG_FILE).models
    own = {name: model for name, model in run.models.items() if name not in base}
    return replace(run, models=own, stages=run.own_stages)


def _children(node: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(node, dict):
        return node.items()
    return [(item["name"], item) for item in node if isinstance(item, dict)] if isinstance(node, list) else []


def _cells(grid: Grid) -> dict[str, dict[str, str]]:
    """Name to setting, for every combination of the values."""
    ends = [key.rpartition(".")[2] for key in grid]
    short = [end if ends.count(end) == 1 else key for key, end in zip(grid, ends)]
    cells: dict[str, dict[str, str]] = {}
    for values in itertools.product(*grid.values()):
        name = ",".join(f"{key}={NOT_IN_A_NAME.sub('-', value)}" for key, value in zip(short, values))
        if name in cells or len(name.encode()) > LONGEST_NAME:
            raise InputError(
                f"--grid: {name!r} is the name of two cells, or too long for a folder. Give values that "
                "differ in letters and digits, and are short."
            )
        cells[name or AS_CONFIGURED] = dict(zip(grid, values))
    return cells


def outline(search: Search) -> str:
    """What there is to do: cells, seeds, and each run with its state."""
    trials = [_result(search, trial) for trial in search.trials]
    lines = [f"search   {search.run.name}, {len(trials)} runs, score {search.reference}"]
    lines += [f"         {key}: {', '.join(values)}" for key, values in search.grid.items()]
    return "\n".join([*lines, *(f"  {trial.state:<9} {trial.folder}" for trial in trials)])


def run_search(search: Search, output: Path, command: Sequence[str], jobs: int = 1) -> Iterator[str]:
    """Runs what is not finished, `jobs` runs at a time, and yields a line for each that ends; then the results.

    A run that fails does not end the others. After each run search.json, search.md and search.html are written anew.
    Safe to repeat after a crash: a finished run (one with results.json) stands, another goes on from its checkpoint.

    Args:
        command: What starts a training, before its arguments.
        jobs: They share the CPU threads of the config, or all.
    Raises:
        InputError: Another search works in the folder, data are missing, or a run failed; the others are finished.
    """
    threads = search.run.runtime.threads or environment_threads() or count_cores()
    with run_lock(output):
        results = _write(search, output)
        waiting = [trial["folder"] for trial in results["trials"] if trial["state"] != "finished"]
        if waiting:
            ready_data(search.run)  # what is missing is found once, not in every run
            _check_finished(search, [trial["folder"] for trial in results["trials"] if trial["state"] == "finished"])
        failed: dict[str, int] = {}
        shared = f"{THREADS}={max(1, threads // jobs)}"
        commands = {folder: [*command, *search.arguments[folder], shared] for folder in waiting}
        with Children(commands, jobs, LOG_FILE) as children:
            for count, (folder, code) in enumerate(children, 1):
                if code:
                    failed[folder] = code
                results = _write(search, output, failed)
                yield f"{count} of {len(waiting)}: {_ended(results, folder, code)}"
    yield f"\n{grid_text(results)}\nResults: {output / SEARCH_FILE}, {MARKDOWN_FILE}, {HTML_FILE}"
    if failed:
        raise InputError(
            f"{len(failed)} of {len(search.trials)} runs failed, first {next(iter(failed))}: its "
            f"{LOG_FILE} says why. The same command tries them again; the others are finished."
        )


def _check_finished(search: Search, folders: Iterable[str]) -> None:
    """Raises an InputError for a finished run of other data than those that follow will read."""
    for folder in folders:
        _, config, _, *overrides = search.arguments[folder]
        changed = inputs_changed(load_config(config, overrides), Path(folder))
        if changed:
            raise InputError(
                f"{folder}: is finished, and files that it read have changed since: {', '.join(changed)}. Its scores "
                "cannot stand beside those of the files as they are. Put them back, give another --output, or remove "
                f"{folder} to run it again."
            )


def _write(search: Search, output: Path, failed: Iterable[str] = ()) -> dict[str, Any]:
    trials = [_result(search, trial) for trial in search.trials]
    trials = [replace(trial, state="failed") if trial.folder in failed else trial for trial in trials]
    specs = task_specs(search.run)
    metrics = {task: specs[task].metric for task in report_tasks(search.run)}
    results = summarise_grid(search.run.name, search.reference, search.grid, metrics, trials)
    write_text(output / SEARCH_FILE, to_json(results, indent=1))
    page = grid_page(results)
    write_text(output / MARKDOWN_FILE, page.markdown())
    write_text(output / HTML_FILE, page.html())
    return results


def _result(search: Search, trial: Trial) -> Trial:
    """The trial with what its folder says of it."""
    folder = Path(trial.folder)
    results = read_results(folder)
    if results is None:
        return replace(trial, state="begun") if (folder / CONFIG_FILE).is_file() else trial
    model = next(model for model in results.models if model.reference == search.reference)
    seconds = sum(stage.seconds for stage in results.stages)
    return replace(trial, state="finished", scores=model.main, seconds=seconds)


def _ended(results: Mapping[str, Any], folder: str, code: int) -> str:
    if code:
        said = (Path(folder) / LOG_FILE).read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        return f"{folder} failed with exit code {code}: {said}"
    trial = next(trial for trial in results["trials"] if trial["folder"] == folder)
    scores = "  ".join(f"{task} {score:.2f}" for task, score in trial["scores"].items())
    return f"{folder} finished: {scores}"

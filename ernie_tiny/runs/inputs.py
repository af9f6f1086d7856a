"""The files of others that a run reads while it trains: one that changes under it is refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ernie_tiny.config.schema import RunConfig, StageConfig, split_reference
from ernie_tiny.data.corpus import corpus_files
from ernie_tiny.errors import InputError
from ernie_tiny.files import MANIFEST, file_checksum, read_record, write_record
from ernie_tiny.models.weights import WEIGHTS_FILES
from ernie_tiny.runs.run_folders import has_begun
from ernie_tiny.training.checkpoint import unfinished_stages
from ernie_tiny.training.tasks import report_tasks, task_specs, training_splits

INPUTS_FILE = "inputs.json"


def guard_inputs(run: RunConfig, folder: Path) -> None:
    """Compares the files that are still to be read with what they were when the run first read them.

    Size and time first; the content is hashed where they differ. A file is known by its key in the config and its
    name, so that a data root may be moved. Files of finished stages alone may change: nothing trains on them again.
    So may all while nothing is made of them, as when one that a check has found at fault is mended.

    Raises:
        InputError: the content of some has changed; nothing is trained.
    """
    file, known = folder / INPUTS_FILE, _known(folder) if has_begun(folder) else {}
    now = {key: _state(path, known.get(key)) for key, path in _inputs(run, unfinished_stages(run))}
    changed = _changed(known, now)
    if changed:
        raise InputError(
            f"{folder}: files that its stages read have changed since it began: {', '.join(changed)}. Put them back, "
            "or give -o output_dir=ANOTHER. To go on with what they are now, part of the training having seen what "
            f"they were, remove {file}."
        )
    if {**known, **now} != known:
        write_record(file, {"files": {**known, **now}})


def inputs_changed(run: RunConfig, folder: Path) -> list[str]:
    """The files that a finished run read and whose content has changed since, by key in the config and name."""
    known = _known(folder)
    return _changed(known, {key: _state(path, known.get(key)) for key, path in _inputs(run, run.own_stages)})


def _known(folder: Path) -> dict[str, dict[str, Any]]:
    """The states of the files as a run first saw them, by key and name."""
    file = folder / INPUTS_FILE
    anew = f"Remove it to go on with the files as they are: {folder} then takes them for those that it began with."
    known: dict[str, dict[str, Any]] = read_record(file, anew)["files"] if file.is_file() else {}
    return known


def _changed(known: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        key
        for key, state in now.items()
        if (state["sha256"] != known[key]["sha256"] if key in known else _is_added(key, known))
    ]


def _is_added(key: str, known: Iterable[str]) -> bool:
    """Whether a file of weights has come into a pretrained folder that is known: it may be read in place of another."""
    name, _, place = key.partition(" ")
    return name in WEIGHTS_FILES and any(other.endswith(f" {place}") for other in known)


def _state(path: Path, known: Optional[dict[str, Any]]) -> dict[str, Any]:
    status = path.stat()
    state = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    if known is not None and state.items() <= known.items():
        return known
    return {**state, "sha256": file_checksum(path)}


def _inputs(run: RunConfig, stages: Sequence[StageConfig]) -> Iterator[tuple[str, Path]]:
    """Key and place of every file of a task, a corpus or a model that stages and the report read.

    Of a model of the base run it is the manifest, which has the checksums of its other files.
    """
    root, specs = Path(run.data.root), task_specs(run)
    read = dict.fromkeys(
        (task, split)
        for stage in stages
        for task in stage.data.tasks
        for split in ("dev", *dict(training_splits(stage.of_task(task), specs[task])))
    )
    read.update(dict.fromkeys((task, "dev") for task in report_tasks(run) if task in specs))
    for task, split in read:
        for name in specs[task].files_of(split):
            yield f"{name} ({task}, {split})", root / name
    for stage in stages:
        for name in stage.answer_files.values():
            yield f"{name} (stages.{stage.name}.teacher.answers)", root / name
    for corpus in dict.fromkeys(stage.data.corpus for stage in stages if stage.data.corpus is not None):
        key = f"data.corpora.{corpus}.files"
        for path in corpus_files(root, run.data.corpora[corpus].files, key):
            yield f"{path.relative_to(root)} ({key})", path
    references = [reference for stage in stages for reference in _models(run, stage)]
    for reference in dict.fromkeys([*references, *run.report.models.values()]):
        name, earlier = split_reference(reference)
        base, pretrained = None if earlier is None else run.stage(earlier).taken_from, run.models[name].pretrained
        if base is not None:
            for path in sorted((Path(base) / "stages" / str(earlier)).glob(f"**/model*/{MANIFEST}")):
                yield f"{path.relative_to(base)} (base_run)", path
        if earlier is None and pretrained is not None and Path(pretrained).is_dir():
            for path in sorted(path for path in Path(pretrained).iterdir() if path.is_file()):
                yield f"{path.name} (models.{name}.pretrained)", path


def _models(run: RunConfig, stage: StageConfig) -> Iterator[str]:
    """References to the models that a stage loads, as they are configured or as a stage left them; some come twice."""
    references = [*stage.trained.values(), *stage.teachers]
    if stage.data.augment is not None:
        references.append(stage.data.augment.model)
    for reference in references:
        following: Optional[str] = reference
        while following is not None:
            yield following
            name, earlier = split_reference(following)
            following = run.models[name].init_from if earlier is None else None  # which is loaded too

"""What a run asks of the machine that it is on, before anything is read or written. Paddle is not needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ernie_tiny.config.schema import RunConfig
from ernie_tiny.engine_facts import FACTS, is_installed, require_installed
from ernie_tiny.errors import InputError
from ernie_tiny.runtime import check_precision

# Of a place on this machine; a published model is NAME or OWNER/NAME, whose owner is no folder here.
LOCAL_STARTS = ("/", "./", "../")


def check_machine(run: RunConfig) -> None:
    """Raises an InputError where this machine cannot hold the run: a precision that takes a GPU, a file in a folder's
    place, a local path that leads nowhere.

    What is not there yet and is made by the run (its folder, a cache) is no fault.
    """
    check_precision(run.runtime.device, run.runtime.precision)
    for key, place in _folders(run):
        path = Path(place)
        file = next((one for one in (path, *path.parents) if os.path.lexists(one) and not os.path.isdir(one)), None)
        if file is not None:
            what = "is a file" if os.path.exists(file) else "is a link that leads nowhere"
            raise InputError(f"{key} = {place!r}: a folder is due, and {file} {what}. Name a folder.")
    for name, model in run.models.items():
        if model.pretrained is not None:
            _check_source(model.pretrained, f"models.{name}.pretrained")
    if run.tokenizer.vocab is not None:
        _check_source(run.tokenizer.vocab, "tokenizer.vocab")


def check_engines_installed(run: RunConfig) -> None:
    """Raises an InputError for the first engine that the run answers or exports with and that is not installed."""
    engines = [run.runtime.teacher_engine] if any(stage.teachers for stage in run.own_stages) else []
    for engine in (*engines, *(run.export.engines if run.export.model is not None else ())):
        if engine in FACTS and not is_installed(engine):
            require_installed(engine)


def _folders(run: RunConfig) -> Iterator[tuple[str, str]]:
    yield "output_dir", run.folder
    yield "data.root", run.data.root
    for stage in run.stages:
        if stage.cache is not None and stage.cache.folder is not None:
            yield f"stages.{stage.name}.cache.folder", stage.cache.folder
    for name, model in run.models.items():
        if model.pretrained is not None:
            yield f"models.{name}.pretrained", model.pretrained


def _check_source(source: str, key: str) -> None:
    """A name that is a path is never asked for on the network."""
    path = Path(source)
    meant_here = source.startswith(LOCAL_STARTS) or source.count("/") > 1 or source.endswith((".txt", ".json", "/"))
    if not source.strip() or source != source.strip() or not source.isprintable():
        raise InputError(f"{key} = {source!r}: is neither a path nor a published model's name.")
    if path.exists() or not (meant_here or ("/" in source and path.parent.is_dir())):
        return
    there = next((parent for parent in path.parents if parent.is_dir()), Path())
    near = sorted(one.name for one in there.iterdir()) if os.access(there, os.R_OK) else []
    shown = f"{', '.join(near[:8])}{', ...' if len(near) > 8 else ''}" or "nothing"
    raise InputError(f"{key} = {source!r}: there is no such place on this machine. {there.absolute()} holds {shown}.")

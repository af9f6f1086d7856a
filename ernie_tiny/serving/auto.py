"""The fastest of a folder's forms for each shape of input, measured once on a machine and remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ernie_tiny.batch import Array, Batch
from ernie_tiny.engine_facts import AUTO, PRECISIONS, Form
from ernie_tiny.engines import Engine, runnable
from ernie_tiny.files import to_json, write_text
from ernie_tiny.runtime import processor, versions
from ernie_tiny.serving.benchmark import Candidate, Cell, timings
from ernie_tiny.serving.exported import held_forms, load_form, network_files, read_spec

CELLS = (Cell(1, 32), Cell(1, 128), Cell(32, 32), Cell(32, 128))
SECONDS = 0.5  # of calls a form and a cell
SHAPES = 4096  # whose forms are remembered
logger = logging.getLogger(__name__)


class AutoEngine:
    """An engine (ernie_tiny.engines) that answers each batch by the form that was fastest on the nearest shape.

    Args:
        engines: A loaded engine for each form that is fastest somewhere.
        choice: Shape to the form that is fastest there.
    """

    def __init__(self, engines: Mapping[Form, Engine], choice: Mapping[Cell, Form]) -> None:
        self.engines, self.choice = engines, choice
        self._form = lru_cache(maxsize=SHAPES)(self.form)  # the search costs a short text a thirtieth of its time

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """The arrays of a batch."""
        return self.engines[self._form(*batch.input_ids.shape)](batch)

    def form(self, rows: int, length: int) -> Form:
        """What answers a batch of this shape."""
        shape = np.log((rows, length))
        return self.choice[min(self.choice, key=lambda cell: float(np.square(np.log(cell) - shape).sum()))]


def auto_engine(folder: Path, precision: str, threads: int) -> AutoEngine:
    """The forms of an exported folder that are fastest here (`fastest`), loaded."""
    choice = fastest(folder, precision, threads)
    return AutoEngine({form: load_form(folder, form, threads) for form in set(choice.values())}, choice)


class AutoCandidate(Candidate):
    """What `auto_engine` gives, to be timed beside the forms that it chooses from."""

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        fastest(folder, precision, threads)  # measured where it is not, which is no part of loading
        super().__init__(folder, (AUTO, precision), threads)

    def _load(self, folder: Path, threads: int) -> AutoEngine:
        self._auto = auto_engine(folder, self.form[1], threads)
        return self._auto

    def _files(self, folder: Path) -> Iterable[Path]:
        return {file for form in self._auto.engines for file in network_files(folder, form)}

    def answers(self, cell: Cell) -> Form:
        """Engine and precision that answer the shape."""
        return self._auto.form(*cell)


def fastest(folder: Path, precision: str, threads: int) -> dict[Cell, Form]:
    """The fastest form of an exported folder for each of CELLS, on this machine.

    What is measured is kept in the user's cache folder, by processor, versions, threads, forms and network; where that
    folder cannot be written, it is measured anew each time.

    Args:
        precision: The lowest that may be chosen, in the order of ernie_tiny.engine_facts.PRECISIONS.
    """
    allowed = PRECISIONS[: PRECISIONS.index(precision) + 1]
    forms = runnable(form for form in held_forms(folder) if form[1] in allowed)
    if not forms:
        load_form(folder)  # which every export holds: says what is not there
    file = _cache_file(folder, forms, threads)
    choice = _kept(file)
    if choice is None:
        choice = _measured(folder, forms, threads)
        try:
            write_text(file, to_json([[*cell, *form] for cell, form in choice.items()]))
        except OSError as error:
            logger.info("%s: what was measured cannot be kept (%s); the next start measures anew", file, error)
    for cell, form in choice.items():
        logger.info("%s: %d x %d tokens on %s in %s", folder.name, *cell, *form)
    return choice


def _measured(folder: Path, forms: Sequence[Form], threads: int) -> dict[Cell, Form]:
    longest = read_spec(folder).max_length
    cells = [Cell(cell.rows, min(cell.length, longest)) for cell in CELLS]
    candidates = {", ".join(form): Candidate(folder, form, threads) for form in forms}
    found = timings(candidates, list(dict.fromkeys(cells)), SECONDS)
    return {times[0].cell: forms[int(np.argmin([timing.best for timing in times]))] for times in zip(*found.values())}


def _cache_file(folder: Path, forms: Sequence[Form], threads: int) -> Path:
    sizes = [file.stat().st_size for form in forms for file in network_files(folder, form)]
    identity = [processor().name, versions(), threads, sorted(forms), sizes]
    digest = hashlib.sha256(to_json(identity, sort_keys=True).encode()).hexdigest()[:16]
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root) / "ernie_tiny" / f"engine-{digest}.json"


def _kept(file: Path) -> dict[Cell, Form] | None:
    """What was measured before; None where there is nothing, or nothing that can be read."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return {Cell(int(rows_), int(length)): (engine, precision) for rows_, length, engine, precision in rows}
    except (OSError, ValueError, TypeError):
        return None

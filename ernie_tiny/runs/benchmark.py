"""Exported models timed side by side: every engine and precision that they hold, on shapes of input and on texts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

from ernie_tiny.data.task import Example
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.engine_facts import AUTO, Form
from ernie_tiny.engines import runnable
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.read import read_inputs
from ernie_tiny.report.tables import Table
from ernie_tiny.runtime import processor, versions
from ernie_tiny.serving.auto import AutoCandidate
from ernie_tiny.serving.benchmark import Candidate, Cell, Timing, timings
from ernie_tiny.serving.exported import forms_of, read_spec
from ernie_tiny.serving.predictor import Predictor

ROUNDS = 3  # in which all models answer the texts in turn


def benchmark_models(
    folders: Sequence[Path], forms: Sequence[Form], cells: Sequence[Cell], threads: int, seconds: float
) -> dict[str, Any]:
    """What each form of each folder takes: load time, bytes, and timings a cell, by a name for model and form.

    Args:
        forms: Of these the ones that a folder holds and that can run here; (AUTO, the lowest precision) for what
            Predictor chooses.
    Raises:
        InputError: a folder is no export, or none of the forms can run.
    """
    chosen = _chosen(folders, forms)
    loaded = {
        name: AutoCandidate(folder, form[1], threads) if form[0] == AUTO else Candidate(folder, form, threads)
        for name, folder, form in chosen
    }
    found = timings(loaded, cells, seconds)
    models = {}
    for name, folder, _ in chosen:
        each, rivals = loaded[name], [found[other] for other, place, _ in chosen if place == folder]
        bests = [min(timing.p50 for timing in same) for same in zip(*rivals)]
        models[name] = {
            "load_seconds": round(each.load_seconds, 3),
            "megabytes": round(each.bytes / 1e6, 2),
            "auto": each.form[0] == AUTO,
            "timings": [
                {**_record(timing, each.answers(timing.cell)), "of_best": round(best / timing.p50, 3)}
                for timing, best in zip(found[name], bests)
            ],
        }
    here = processor()
    return {
        "processor": here.name,
        "bfloat16": here.bfloat16,
        "threads": threads,
        "versions": versions(),
        "models": models,
    }


def read_texts(folders: Sequence[Path], texts: Path) -> tuple[Example, ...]:
    """The questions of a file, as tools/infer.py takes them, of the first folder's task.

    Raises:
        InputError: some are none of the task, or too long for one of the models to read.
    """
    examples = read_inputs(read_spec(folders[0]), texts)
    for folder in folders:
        spec = read_spec(folder)
        featurise(spec, examples, load_tokenizer(folder), spec.max_length)
    return examples


def time_texts(
    folders: Sequence[Path], forms: Sequence[Form], examples: Sequence[Example], rows: int, threads: int
) -> dict[str, dict[str, float]]:
    """Texts a second from raw text to answers, and of the network alone on the same batches, by model and form.

    Args:
        rows: Of a batch, which is as long as its longest text.
    """
    chunks = [examples[start : start + rows] for start in range(0, len(examples), rows)]
    chosen = _chosen(folders, forms)
    predictors = {name: Predictor(folder, threads, *form) for name, folder, form in chosen}
    taken = {name: [0.0, 0.0] for name in predictors}
    for round_ in range(1 + ROUNDS):
        for name, predictor in predictors.items():
            began, inside = time.perf_counter(), predictor.engine_seconds
            for chunk in chunks:
                predictor.predict(chunk)
            if round_ > 0:  # the first chooses kernels and allocates
                taken[name][0] += time.perf_counter() - began
                taken[name][1] += predictor.engine_seconds - inside
    count = ROUNDS * len(examples)
    return {
        name: {"texts_per_second": round(count / whole, 1), "network_alone": round(count / network, 1)}
        for name, (whole, network) in taken.items()
    }


def tables(record: Mapping[str, Any], texts: Mapping[str, Mapping[str, float]]) -> list[Union[str, Table]]:
    """The numbers for people: milliseconds a call, and how often as fast as the first model each is.

    Where the record has rows of AUTO, what each took, with its speed by that of the model's fastest row.
    """
    models = record["models"]
    first = next(iter(models.values()))
    rows, choices = [], []
    for name, model in models.items():
        cells, taken = {}, {}
        for timing, own in zip(model["timings"], first["timings"]):
            shape = f"{timing['rows']} x {timing['length']}"
            cells[f"{shape}\nms (p95)"] = f"{timing['p50']:.2f} ({timing['p95']:.2f})"
            cells[f"{shape}\nratio"] = f"{own['p50'] / timing['p50']:.2f}"
            taken[shape] = f"{timing['engine']} {timing['precision']} ({timing['of_best']:.2f})"
        rows.append(
            {"model": name, **cells, "load s": f"{model['load_seconds']:.2f}", "MB": f"{model['megabytes']:.2f}"}
        )
        if model["auto"]:
            choices.append({"model": name, **taken})
    found: list[Union[str, Table]] = [Table.of(rows)]
    if choices:
        found += ["What auto takes, and its speed by that of the model's fastest row:", Table.of(choices)]
    if texts:
        ends = [
            {
                "model": name,
                "texts/s": f"{each['texts_per_second']:.1f}",
                "network alone": f"{each['network_alone']:.1f}",
                "kept": f"{each['texts_per_second'] / each['network_alone']:.2f}",
            }
            for name, each in texts.items()
        ]
        found.append(Table.of(ends))
    return found


def _chosen(folders: Sequence[Path], forms: Sequence[Form]) -> list[tuple[str, Path, Form]]:
    """A name, the folder and the form of each that is to be timed, in the order given."""
    auto = [form for form in forms if form[0] == AUTO]
    able = runnable(form for form in forms if form not in auto)
    names = {folder: str(folder) if len(folders) > 1 else folder.name for folder in folders}
    found = [
        (f"{names[folder]}, {' '.join(form)}", folder, form)
        for folder in folders
        for form in [*(form for form in forms_of(folder) if form in able), *auto]
    ]
    if not found:
        asked = ", ".join(" ".join(form) for form in forms)
        raise InputError(
            f"{folders[0]}: holds none of {asked} that can run here. Export it with --engines, --precision."
        )
    return found


def _record(timing: Timing, form: Form) -> dict[str, Any]:
    own = {**timing.cell._asdict(), "engine": form[0], "precision": form[1], **dataclasses.asdict(timing)}
    del own["cell"]
    speeds = {"texts_per_second": timing.texts_per_second, "tokens_per_second": timing.tokens_per_second}
    return {**own, **{name: round(value, 1) for name, value in speeds.items()}}

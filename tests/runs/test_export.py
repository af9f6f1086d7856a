"""Sizes and speeds of the models of a report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.report.results import ModelResult
from ernie_tiny.runs import export as module
from tests.shapes import TINY

SHAPE = {**TINY, "num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 16, "max_position_embeddings": 16}


@pytest.mark.parametrize(
    ("change", "timed"),
    [
        ({}, ["student"]),
        ({"num_hidden_layers": 2}, ["student", "baseline"]),
        ({"num_attention_heads": 4}, ["student", "baseline"]),
    ],
)
def test_a_baseline_has_the_students_speed_where_it_is_the_same_network(change, timed, tmp_path: Path, monkeypatch):
    models = {
        "student": MultiTaskModel(build_encoder("ernie", SHAPE)),
        "baseline": MultiTaskModel(build_encoder("ernie", {**SHAPE, **change})),
    }
    seen: list[str] = []

    def timings(candidates, *_):
        seen.extend(candidates)
        one = SimpleNamespace(p50=1.0, p95=2.0, texts_per_second=3.0)
        return {role: [one, one] for role in candidates}

    monkeypatch.setattr(module, "export_model", lambda *_: None)
    monkeypatch.setattr(module, "Candidate", lambda *_: None)
    monkeypatch.setattr(module, "timings", timings)
    monkeypatch.setattr(module, "megabytes", lambda folder: float(len(folder.name)))
    workspace = SimpleNamespace(
        folder=tmp_path,
        tokenizer=None,
        task=lambda task: SimpleNamespace(max_length=16),
        model=lambda reference, task: models[reference],
    )
    results = [ModelResult(role, role, 0, 0, {}, {}) for role in models]
    module.measure_speeds(workspace, results, "mine")
    assert seen == timed
    assert [result.megabytes for result in results] == [len("student"), len(timed[-1])]
    assert all(result.speed is not None for result in results)

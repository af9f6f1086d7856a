"""Logits of the three forms with and without padding, and heads as values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.batch import Feature
from ernie_tiny.data.batching import collate
from ernie_tiny.kind_facts import CANDIDATE, POSITION, ROW
from ernie_tiny.models.forms import FORMS, MASKED_LOGIT, HeadSpec, read_heads

LENGTHS, CANDIDATES = (2, 5, 3), (3, 1, 2)


def batch_of(candidates: tuple[int, ...]):
    rows = [(np.ones(length, np.int32), np.zeros(length, np.int32)) for length in LENGTHS]
    return collate([Feature(str(n), (row,) * count) for n, (row, count) in enumerate(zip(rows, candidates))], "toy", 0)


@pytest.mark.parametrize(
    ("form", "outputs", "candidates", "shape", "cut"),
    [
        (ROW, 4, (1, 1, 1), (3, 4), [(4,), (4,), (4,)]),
        (CANDIDATE, 1, CANDIDATES, (3, 3), [(3,), (1,), (2,)]),
        (POSITION, 2, (1, 1, 1), (3, 2, 5), [(2, 2), (2, 5), (2, 3)]),
    ],
)
def test_what_is_cut_can_be_padded_again(form, outputs, candidates, shape, cut):
    batch = batch_of(candidates)
    logits = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1
    found = FORMS[form].cut(logits, batch, outputs)
    assert [values.shape for values in found] == cut
    padded = FORMS[form].pad([values.reshape(-1) for values in found], batch, outputs)
    real = padded != MASKED_LOGIT
    assert real.sum() == sum(values.size for values in found) and (padded[real] == logits[real]).all()
    wider = FORMS[form].cut(FORMS[form].pad(found, batch, outputs), batch, outputs)
    assert all(np.array_equal(one, other) for one, other in zip(found, wider))


def test_rows_of_candidates_are_put_side_by_side():
    rows = np.arange(9, dtype=np.float32)[:, None]
    found = FORMS[CANDIDATE].cut(rows, batch_of(CANDIDATES), 1)
    assert [values.tolist() for values in found] == [[0, 1, 2], [3], [6, 7]]


def test_candidates_are_needed():
    with pytest.raises(ValueError, match="a batch of toy has no candidates"):
        FORMS[CANDIDATE].cut(np.zeros((3, 1)), batch_of((1, 1, 1)), 1)


def test_a_heads_file_is_read_with_and_without_forms(tmp_path: Path):
    items = [
        {"task": "new", "form": POSITION, "outputs": 5, "labels": ["a", "b"]},
        {"task": "old", "kind": "classification", "labels": ["a", "b", "c"]},
    ]
    (tmp_path / "heads.json").write_text(json.dumps({"heads": items, "masked_tokens": True}), encoding="utf-8")
    heads, masked_tokens = read_heads(tmp_path / "heads.json")
    assert heads == [HeadSpec("new", POSITION, 5, ("a", "b")), HeadSpec("old", ROW, 3, ("a", "b", "c"))]
    assert masked_tokens is True
    assert [head.outline for head in heads] == ["5 outputs per position", "3 outputs per row"]


@pytest.mark.parametrize(
    ("item", "lacking"),
    [({"form": "none", "outputs": 1}, "none"), ({"kind": "none"}, "none"), ({"form": ROW}, "outputs")],
)
def test_a_head_of_no_form_is_refused(tmp_path: Path, item, lacking):
    content = {"heads": [{"task": "toy", "labels": [], **item}], "masked_tokens": False}
    (tmp_path / "heads.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(LookupError, match=f"'{lacking}'"):
        read_heads(tmp_path / "heads.json")

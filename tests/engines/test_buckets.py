"""Shapes that an engine is asked in: few, never two of the same digits, and the same answers as without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.engines import Signature, load
from ernie_tiny.engines.buckets import Buckets, in_buckets
from ernie_tiny.engines.export import export_network
from ernie_tiny.kind_facts import CANDIDATE, POSITION, ROW
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.forms import FORMS, HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel, SingleTaskModel
from tests.shapes import TINY

SHAPE = {**TINY, "max_position_embeddings": 256}
HEADS = [HeadSpec("class", ROW, 3), HeadSpec("choice", CANDIDATE, 1), HeadSpec("span", POSITION, 2)]
LONGEST = [9, 24, 116, 128, 200, 256, 512, 2048, None]


def made_up(rows: int, length: int, real: int = 5) -> Batch:
    """Rows of random length, from `real` tokens to all, the first of all."""
    random = np.random.default_rng([rows, length])
    ends = random.integers(min(real, length), length + 1, rows)
    ends[0] = length
    mask = (np.arange(length) < ends[:, None]).astype(np.int64)
    types = (np.arange(length) > 2).astype(np.int64) * mask
    return Batch("", (), random.integers(5, 40, (rows, length)) * mask, types, mask)


@pytest.mark.parametrize("longest", LONGEST)
def test_no_two_shapes_have_the_same_digits(longest):
    buckets = Buckets(longest)
    shapes = [(rows, length) for rows in buckets.rows for length in buckets.lengths]
    assert len({f"{rows}{length}" for rows, length in shapes}) == len(shapes)
    assert (longest or 1024) > 599 or {2**power for power in range(17)} <= set(buckets.rows)


def test_the_digits_of_some_would_be_the_same():
    assert 3 in Buckets(128).rows and 3 not in Buckets(256).rows  # 3 x 224 and 32 x 24


@pytest.mark.parametrize("longest", LONGEST)
def test_a_shape_holds_what_is_asked_and_little_more(longest):
    buckets, last = Buckets(longest), longest or 1024
    for length in range(1, last + 1):
        _, padded = buckets(1, length)
        assert length <= padded <= last and padded <= max(16, length + 7, 1.125 * length)
    for rows in range(1, 300):
        padded, _ = buckets(rows, last)
        assert rows <= padded < (1.25 if last < 200 else 1.5 if last < 600 else 2) * rows + 1
    assert buckets(3, last + 1)[1] == last + 1  # the network is to say that it cannot read it


def test_two_hundred_random_shapes_are_few_to_the_engine():
    asked, random = set(), np.random.default_rng(0)
    engine = in_buckets(
        lambda batch: asked.add(batch.input_ids.shape) or {"logits": batch.input_ids}, Signature({"logits": 1}, 128)
    )
    given = {
        (int(rows), int(length)) for rows, length in zip(random.integers(1, 33, 200), random.integers(3, 129, 200))
    }
    for shape in given:
        assert engine(made_up(*shape))["logits"].shape == shape
    assert len(given) > 190 and len(asked) <= 16 * 15
    lengths = set(range(3, 129))
    asked.clear()
    for length in lengths:
        engine(made_up(1, length))
    assert len(lengths) == 126 and len(asked) == 15


def test_every_row_that_is_added_has_a_token_to_attend_to():
    seen = []
    engine = in_buckets(lambda batch: seen.append(batch) or {}, Signature({}, 128))
    engine(made_up(9, 21))
    assert seen[0].attention_mask.shape == (10, 24)
    assert (seen[0].attention_mask.sum(axis=1) > 0).all() and not seen[0].attention_mask[:, 21:].any()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[SingleTaskModel, Path]]:
    paddle.seed(5)
    model = MultiTaskModel(build_encoder("ernie", SHAPE), HEADS)
    for parameter in model.parameters():
        parameter.set_value(parameter + 0.2 * paddle.randn(parameter.shape))
    found = {}
    for head in HEADS:
        single = SingleTaskModel(model, head.task)
        folder = tmp_path_factory.mktemp(head.task)
        with single.without_what_is_not_read():
            export_network(single, folder)
        found[head.task] = single, folder
    return found


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.form)
def test_answers_are_those_without_it(head, exported):
    single, folder = exported[head.task]
    engine = load(folder, Signature({"logits": FORMS[head.form].length_axis}, 256))
    shapes = [(1, 7), (3, 224), (32, 24), (5, 33), (11, 18), (9, 9), (1, 232), (12, 32), (2, 256), (1, 7)]
    for shape in shapes:
        batch = made_up(*shape)
        arrays = (batch.input_ids, batch.token_type_ids, batch.attention_mask)
        with paddle.no_grad():
            expected = single(*map(paddle.to_tensor, arrays)).numpy()
        found = engine(batch)["logits"]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-5)

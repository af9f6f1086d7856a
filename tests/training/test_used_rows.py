"""A stage trains the rows of the token embeddings that its data uses: as the whole table would be, within rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.optimizer import AdamW
from paddle.optimizer.lr import LambdaDecay

from ernie_tiny.batch import Batch, Feature
from ernie_tiny.errors import InputError
from ernie_tiny.training.checkpoint import latest_checkpoint
from ernie_tiny.training.loop import StageLoop
from ernie_tiny.training.used_rows import UsedRows, used_ids
from tests.training.small_stage import VOCABULARY, Stopped, Stream, assert_equal, build, weights

EMBEDDINGS = "models.student.encoder.embeddings.word_embeddings.weight"
IDS = np.array([0, 3, 4, 5, 8, 13, 21, 34])  # 0 is padding, whose row is neither read nor trained
ONCE = 34  # a token of the third batch alone


class FewTokens(Stream):
    """Batches of eight tokens of forty, one of them once; breaks off at a batch."""

    def __init__(self, stop: Optional[int] = None) -> None:
        super().__init__()
        self.stop = stop

    def next_batch(self) -> Batch:
        if self.position == self.stop:
            raise Stopped
        batch = super().next_batch()
        batch.input_ids[:] = IDS[:-1][batch.input_ids % (len(IDS) - 1)]
        if self.position == 3:
            batch.input_ids[1, 2] = ONCE
        return batch


def train(folder: Path, ids: Optional[np.ndarray], stop: Optional[int] = None, **options: Any) -> StageLoop:
    with paddle.utils.unique_name.guard():
        loop = build(folder, FewTokens(stop), used_rows=ids, weight_decay=0.1, dropout=0.0, **options)
        loop.train(latest_checkpoint(folder))
        return loop


def test_500_steps_of_adamw_give_what_they_give_of_the_whole_table() -> None:
    """Among the rows one that is seen once, whose moments go on to move it."""
    paddle.seed(1)
    whole = nn.Embedding(VOCABULARY, 16, padding_idx=0)
    other = nn.Embedding(VOCABULARY, 16, padding_idx=0)
    other.set_state_dict(whole.state_dict())
    rows = UsedRows(other, IDS)
    schedule = LambdaDecay(1e-2, lambda step: 1 - step / 500)
    optimizers = [AdamW(schedule, parameters=one.parameters(), weight_decay=0.1) for one in (whole, rows)]
    random = np.random.default_rng(0)
    for step in range(500):
        ids = random.choice(IDS[:-1], (4, 6))
        if step == 3:
            ids[1, 2] = ONCE
        wanted = paddle.to_tensor(random.normal(size=(4, 6, 16)).astype("float32"))
        for one, optimizer in zip((whole, rows), optimizers):
            ((one(paddle.to_tensor(ids)) - wanted) ** 2).mean().backward()
            optimizer.step()
            optimizer.clear_grad()
        rows.decay_others(1 - 0.1 * schedule.get_lr())
        schedule.step()
    assert rows.weight.shape == [len(IDS), 16]
    np.testing.assert_allclose(rows.whole_again().weight.numpy(), whole.weight.numpy(), rtol=0, atol=1e-6)


def test_each_of_six_steps_gives_what_it_gives_of_the_whole_table(tmp_path: Path) -> None:
    whole = weights(train(tmp_path / "whole", None))
    loop = train(tmp_path / "used", IDS)
    loop.network.train_all_rows()
    for name, value in weights(loop).items():
        np.testing.assert_allclose(value, whole[name], rtol=0, atol=1e-6, err_msg=name)


def test_rows_that_are_not_in_use_decay(tmp_path: Path) -> None:
    before = build(tmp_path, FewTokens()).network.state_dict()[EMBEDDINGS].numpy().copy()
    loop = train(tmp_path, IDS)
    rates = [1e-2 * rate for rate in (0, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5)]  # warm-up of one step of six
    loop.network.train_all_rows()
    after = loop.network.state_dict()[EMBEDDINGS].numpy()
    np.testing.assert_allclose(after[7], before[7] * np.prod([1 - 0.1 * rate for rate in rates]), rtol=1e-6)


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    undisturbed = train(tmp_path / "one", IDS)
    with pytest.raises(Stopped):
        train(tmp_path / "two", IDS, stop=5)
    resumed = train(tmp_path / "two", IDS)
    for loop in (undisturbed, resumed):
        loop.network.train_all_rows()
    assert_equal(weights(resumed), weights(undisturbed))


MORE, ANOTHER = np.array([*IDS[:-1], 33, ONCE]), np.array([0, 2, *IDS[2:]])


@pytest.mark.parametrize(("first", "then"), [(IDS, None), (None, IDS), (IDS, MORE), (IDS, ANOTHER)])
def test_a_stage_goes_on_with_the_rows_that_it_began_with(
    first: Optional[np.ndarray], then: Optional[np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        train(tmp_path, first, stop=5)
    with pytest.raises(InputError, match="begun with other rows of the token embeddings.*remove .* to repeat"):
        train(tmp_path, then)


def test_the_best_weights_come_with_the_decay_of_their_step(tmp_path: Path) -> None:
    scores = iter([{"topic": 50.0}, {"topic": 40.0}, {"topic": 30.0}])
    loop = train(tmp_path / "best", IDS, score=lambda: next(scores), evaluate_every=2)
    loop.best.load()
    best = train(tmp_path / "two steps", IDS, steps=6, stop=None, told_to_stop=Told(2))
    for one in (loop, best):
        one.network.train_all_rows()
    assert_equal(weights(loop), weights(best))


class Told:
    """Tells a loop to stop behind so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = 2 * steps  # a step asks when it begins and when it ends

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_a_token_that_is_not_in_use_is_refused(tmp_path: Path) -> None:
    network = build(tmp_path, Stream(), used_rows=IDS).network
    embedding = network.model.encoder.embeddings.word_embeddings
    assert isinstance(embedding, UsedRows)
    with pytest.raises(ValueError, match="the token 7 is not among those"):
        embedding(paddle.to_tensor([[3, 7]]))


def test_padding_stays_zero(tmp_path: Path) -> None:
    embedding = build(tmp_path, Stream(), used_rows=IDS).network.model.encoder.embeddings.word_embeddings
    found = embedding(paddle.to_tensor([[3, 0]])).numpy()
    assert np.abs(found[0, 0]).min() > 0
    np.testing.assert_array_equal(found[0, 1], 0)


@pytest.mark.parametrize("many", [np.arange(21), np.arange(VOCABULARY)], ids=["more than half", "all"])
def test_the_whole_table_is_trained_where_most_of_it_is_in_use(many: np.ndarray, tmp_path: Path) -> None:
    network = build(tmp_path, Stream(), used_rows=many).network
    assert network.state_dict()[EMBEDDINGS].shape[0] == VOCABULARY


def test_the_whole_table_is_trained_where_a_head_reads_it(tmp_path: Path) -> None:
    network = build(tmp_path, Stream()).network
    network.model.add_masked_token_head()
    network.train_used_rows(IDS)
    assert network.state_dict()[EMBEDDINGS].shape[0] == VOCABULARY


def test_ids_in_use_are_those_of_every_sequence_and_of_padding() -> None:
    def sequence(*ids: int) -> tuple[np.ndarray, np.ndarray]:
        return np.array(ids, np.int32), np.zeros(len(ids), np.int32)

    features = [Feature("a", (sequence(1, 5, 2), sequence(1, 7, 2))), Feature("b", (sequence(1, 5, 2),))]
    np.testing.assert_array_equal(used_ids(features, pad_id=0, rows=10), [0, 1, 2, 5, 7])

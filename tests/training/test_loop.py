"""Training is deterministic, and a resumed run ends where the undisturbed one does, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import HardTerm, ObjectiveConfig
from ernie_tiny.errors import InputError
from ernie_tiny.files import damage
from ernie_tiny.training.checkpoint import BEST, checkpoints, latest_checkpoint
from ernie_tiny.training.events import read_events
from ernie_tiny.training.interval import Interval
from ernie_tiny.training.loop import StageLoop
from ernie_tiny.training.optimizer import part_of_peak
from tests.training.small_stage import VOCABULARY, Stopped, StoppingStream, Stream, assert_equal, build, run, weights


@pytest.mark.parametrize("accumulate", [1, 2])
def test_repeated_and_resumed_runs_end_alike(accumulate: int, tmp_path: Path) -> None:
    options = {"accumulate": accumulate}
    whole = run(tmp_path / "whole", Stream(), **options)
    assert_equal(whole, run(tmp_path / "again", Stream(), **options))
    with pytest.raises(Stopped):  # in step 5, two steps after the checkpoint
        run(tmp_path / "cut", StoppingStream(4 * accumulate), **options)
    checkpoint = latest_checkpoint(tmp_path / "cut")
    assert checkpoint is not None and checkpoint.name == "checkpoint-3"
    resumed = Stream()
    assert_equal(whole, run(tmp_path / "cut", resumed, **options))
    assert resumed.position == 6 * accumulate


def test_of_more_steps_the_next_one_has_their_learning_rate(tmp_path: Path) -> None:
    run(tmp_path, Stream())  # warms up in 1 step, then falls to 0 at step 6
    loop = build(tmp_path, Stream(), steps=9)  # warms up in 2, then falls to 0 at step 9
    loop.load(latest_checkpoint(tmp_path))
    assert loop.optimizer.get_lr() == pytest.approx(1e-2 * 3 / 7)


def test_dropout_is_at_work_and_follows_the_seed(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one", Stream()), run(tmp_path / "other", Stream(), seed=6)
    assert any((one[name] != other[name]).any() for name in one)  # same weights, same batches, other dropout


def test_the_best_weights_are_put_back(tmp_path: Path) -> None:
    seen: list[dict[str, np.ndarray]] = []
    results = iter([10.0, 30.0, 20.0])
    with paddle.utils.unique_name.guard():

        def score() -> dict[str, float]:
            seen.append(weights(loop))
            return {"topic": next(results)}

        loop = build(tmp_path, Stream(), score, evaluate_every=2)
        loop.train()
    assert loop.best.score == 30.0
    name = "models.student.heads.topic.dense.weight"
    assert (weights(loop)[name] != seen[1][name]).any()
    loop.best.load()
    assert_equal(seen[1], weights(loop))
    assert [event["topic"] for event in read_events(tmp_path) if event["event"] == "scores"] == [10.0, 30.0, 20.0]


@pytest.mark.parametrize("evaluate_every", [None, 1])
def test_the_log_holds_terms_and_speed(evaluate_every: Any, tmp_path: Path) -> None:
    """Those of all steps since the line before, whether or not the stage was evaluated in between."""
    run(tmp_path, Stream(), score=lambda: {"topic": 1.0}, evaluate_every=evaluate_every)
    logged = [event for event in read_events(tmp_path) if event["event"] == "log"]
    assert [event["step"] for event in logged] == [2, 4, 6]
    for event in logged:
        assert event["weighted/hard"] == pytest.approx(0.5 * event["raw/hard"])
        assert event["loss"] == pytest.approx(event["weighted/hard"], abs=1e-5)
        assert event["tokens_per_second"] > 0
        assert "teacher_tokens_per_second" not in event  # there is none


def test_weighted_terms_are_those_of_the_steps_and_add_up_to_the_loss(tmp_path: Path) -> None:
    """A weight that falls to 0 behind the last step has counted in all of them."""
    loop = build(tmp_path, Stream(), logging_steps=6)
    loop.network.objectives["student"].config = ObjectiveConfig(hard=HardTerm(0.5, final_weight=0.0))
    loop.train()
    (event,) = [event for event in read_events(tmp_path) if event["event"] == "log"]
    assert event["loss"] > 0.1 and event["weighted/hard"] == pytest.approx(event["loss"], abs=1e-5)


def test_the_learning_rate_rises_and_falls_in_lines() -> None:
    rates = [part_of_peak(10, 4, step) for step in range(12)]
    assert rates == pytest.approx([0, 1 / 4, 2 / 4, 3 / 4, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0, 0])
    assert [part_of_peak(2, 0, step) for step in range(3)] == [1.0, 0.5, 0.0]


def test_gradients_are_looked_at_in_the_main_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main, looked = build(tmp_path, Stream(), steps=1, logging_steps=1), []
    monkeypatch.setattr("ernie_tiny.training.watch.GradientWatch.look", lambda *_: looked.append(1))
    StageLoop(main.network, Stream(), None, main.settings, dict, log=None).train()
    assert not looked
    main.train()
    assert looked


def test_evaluation_takes_nothing_from_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 7.0])
    monkeypatch.setattr("ernie_tiny.training.interval.time.perf_counter", lambda: next(now))
    interval = Interval(None)
    interval.add_batch(Stream().next_batch(), paddle.to_tensor(3.0), {"hard": paddle.to_tensor(6.0)}, {"hard": 0.5})
    interval.end_step()
    interval.leave_out(5.0)
    assert interval.values(100, 0.00123456) == {
        "loss": 3.0,
        "learning_rate": 0.001235,
        "raw/hard": 6.0,
        "weighted/hard": 3.0,
        "tokens_per_second": 50.0,
    }


@pytest.mark.parametrize(("seconds", "apart"), [(0.0, {"student_tokens_per_second"}), (math.nan, set())])
def test_speeds_apart_are_logged_where_the_teachers_time_is_known(seconds: float, apart: set[str]) -> None:
    interval = Interval(SimpleNamespace(seconds=seconds))
    interval.add_batch(Stream().next_batch(), paddle.to_tensor(3.0), {}, {})
    interval.end_step()
    assert {name for name in interval.values(100, 0.1) if name.endswith("_tokens_per_second")} == apart


# ---- resuming


def test_a_checkpoint_holds_nothing_that_is_unpickled(tmp_path: Path) -> None:
    run(tmp_path, Stream())
    files = {file.suffix for checkpoint in checkpoints(tmp_path) for file in checkpoint.iterdir()}
    assert files == {".json", ".safetensors"}


def test_resuming_after_the_last_step_makes_no_more(tmp_path: Path) -> None:
    whole, again = run(tmp_path, Stream()), Stream()
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-6"
    assert_equal(whole, run(tmp_path, again))
    assert again.position == 6


def test_a_run_resumed_twice_ends_alike(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", Stream(), save_steps=1)
    for stop in (2, 4):
        with pytest.raises(Stopped):
            run(tmp_path / "cut", StoppingStream(stop), save_steps=1)
    assert_equal(whole, run(tmp_path / "cut", Stream(), save_steps=1))


def test_a_stage_goes_on_with_more_steps_on_their_schedule(tmp_path: Path) -> None:
    build(tmp_path / "eight", Stream(), steps=8).train()
    with pytest.raises(Stopped):
        run(tmp_path / "cut", StoppingStream(4))
    with paddle.utils.unique_name.guard():
        loop = build(tmp_path / "cut", Stream(), steps=8)
        loop.train(tmp_path / "cut/checkpoint-3")
    assert loop.step == 8
    eight, cut = (
        {event["step"]: event["learning_rate"] for event in read_events(folder) if event["event"] == "log"}
        for folder in (tmp_path / "eight", tmp_path / "cut")
    )
    assert cut[2] != eight[2] and [cut[step] for step in (4, 6, 8)] == [eight[step] for step in (4, 6, 8)]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(tmp_path, StoppingStream(4))
    with paddle.utils.unique_name.guard():
        loop = build(tmp_path, Stream())
        loop.network.models["student"].heads.pop("topic")
        with pytest.raises(InputError, match=r"2 of the weights are not those.*heads\.topic.*repeat the stage"):
            loop.train(tmp_path / "checkpoint-3")


def scores_of(loop: StageLoop) -> dict[str, float]:
    """Rises, falls, and follows from the weights alone."""
    return {"topic": float(np.abs(weights(loop)["models.student.heads.topic.dense.weight"]).sum()) % 0.02}


def best(folder: Path, stream: Stream) -> tuple[Any, dict[str, np.ndarray]]:
    """The best score and weights of a run with an evaluation after each step."""
    with paddle.utils.unique_name.guard():
        loop = build(folder, stream, lambda: scores_of(loop), evaluate_every=1)
        loop.train(latest_checkpoint(folder))
        loop.best.load()
        return loop.best.score, weights(loop)


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_the_best_weights_are_those_of_the_undisturbed_run(stop: int, tmp_path: Path) -> None:
    expected = best(tmp_path / "whole", Stream())
    with pytest.raises(Stopped):
        best(tmp_path / "cut", StoppingStream(stop))
    found = best(tmp_path / "cut", Stream())
    assert found[0] == expected[0]
    assert_equal(expected[1], found[1])


def test_damaged_best_weights_are_found_before_the_stage_goes_on(tmp_path: Path) -> None:
    with paddle.utils.unique_name.guard():
        build(tmp_path, Stream(), lambda: {"topic": 1.0}, evaluate_every=2).train()
    best = checkpoints(tmp_path, BEST)[0]
    (best / "network.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"best-2: is damaged: network\.safetensors .* Remove"):
        build(tmp_path, Stream())


def test_a_stage_that_is_told_to_stop_saves_and_goes_on_later(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", Stream())
    stream = Stream()
    with paddle.utils.unique_name.guard():
        loop = build(tmp_path / "cut", stream, told_to_stop=lambda: stream.position == 4)
        loop.train()
    assert loop.stopped and loop.step == 4
    assert latest_checkpoint(tmp_path / "cut") == tmp_path / "cut" / "checkpoint-4"
    assert_equal(whole, run(tmp_path / "cut", Stream()))


def test_told_in_its_last_evaluation_a_stage_saves_and_has_nothing_left_to_do(tmp_path: Path) -> None:
    evaluated: list[int] = []

    def score() -> dict[str, float]:
        evaluated.append(loop.step)
        return {"topic": 1.0}

    def fresh() -> StageLoop:
        return build(tmp_path, Stream(), score, lambda: 6 in evaluated, evaluate_every=4, save_steps=0)

    with paddle.utils.unique_name.guard():
        loop = fresh()
        loop.train()
    assert loop.stopped and evaluated == [4, 6]
    whole = weights(loop)
    with paddle.utils.unique_name.guard():
        loop = fresh()
        loop.train(latest_checkpoint(tmp_path))
    assert not loop.stopped and loop.step == 6 and evaluated == [4, 6]
    assert_equal(whole, weights(loop))


def test_processes_agree_behind_the_last_step_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By two pretended ones, of which the other one is told in the last step."""
    loop = build(tmp_path, Stream(), steps=1)
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(processes, "total", lambda counts: paddle.to_tensor(counts) + loop.step)
    loop._take_step(loop.network)
    assert loop.step == 1 and loop._is_to_stop()


def test_a_stage_that_is_not_told_to_stop_is_not_stopped(tmp_path: Path) -> None:
    loop = build(tmp_path, Stream())
    loop.train()
    assert not loop.stopped


# ---- numbers that go wrong


class PoisonedStream(Stream):
    """From some batch on there is a token whose embedding is too large for a norm."""

    def __init__(self, poisoned: int) -> None:
        super().__init__()
        self.poisoned = poisoned

    def next_batch(self) -> Batch:
        batch = super().next_batch()
        ids = np.minimum(batch.input_ids, VOCABULARY - 2)
        if self.position > self.poisoned:
            ids[2, 3] = VOCABULARY - 1
        return dataclasses.replace(batch, input_ids=ids)


def poison(loop: StageLoop) -> StageLoop:
    embedding = loop.network.models["student"].encoder.embeddings.word_embeddings.weight
    values = embedding.numpy()
    values[VOCABULARY - 1] = 3e38
    embedding.set_value(values)
    return loop


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_not_finite_stops_with_batch_term_and_checkpoint(accumulate: int, tmp_path: Path) -> None:
    poisoned = 4 * accumulate - 1 + accumulate  # the last batch of step 5
    loop = poison(build(tmp_path, PoisonedStream(poisoned), accumulate=accumulate))
    with pytest.raises(InputError) as error:
        loop.train()
    message = str(error.value)
    assert "step 5: the loss (hard) is nan for the batch of topic" in message
    assert f"with '{poisoned}-0', '{poisoned}-1'" in message
    assert f"Last good checkpoint: {tmp_path / 'checkpoint-3'}" in message


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    loop = build(tmp_path, PoisonedStream(99))
    loop.train()
    before = latest_checkpoint(tmp_path)
    embedding = loop.network.models["student"].encoder.embeddings.word_embeddings.weight
    embedding.set_value(np.full(embedding.shape, np.inf, "float32"))
    loop.step = 7
    with pytest.raises(InputError, match="NaN or infinite, first models.student.encoder.embeddings.word_embeddings"):
        loop.save()
    assert latest_checkpoint(tmp_path) == before and damage(before) is None  # type: ignore[arg-type]


class SkippingScaler:
    """Stands for a GradScaler, which is for GPUs, that finds an infinite gradient in the first two steps."""

    def __init__(self) -> None:
        self.steps, self._scale, self._cache_found_inf = 0, paddle.ones([1]), False

    def scale(self, loss: Any) -> Any:
        return loss

    def step(self, optimizer: Any) -> None:
        self.steps += 1
        self._cache_found_inf = self.steps <= 2
        if not self._cache_found_inf:
            optimizer.step()

    def update(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self._scale.numpy(), "incr_count": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["incr_count"]


def test_steps_that_loss_scaling_skips_are_counted(tmp_path: Path) -> None:
    loop = build(tmp_path, Stream())
    loop.scaler = SkippingScaler()
    loop.train()
    assert [event["scaler_skips"] for event in read_events(tmp_path) if event["event"] == "log"] == [2, 2, 2]
    state = json.loads((tmp_path / "checkpoint-6/state.json").read_text(encoding="utf-8"))
    assert state["scaler"] == {"scale": [1.0], "incr_count": 6}
    resumed = build(tmp_path, Stream())
    resumed.scaler = SkippingScaler()
    resumed.load(tmp_path / "checkpoint-3")
    assert resumed.scaler.steps == 3 and resumed.schedule.last_epoch == 1


def freeze(loop: StageLoop, *parts: str) -> StageLoop:
    for name, weight in loop.network.named_parameters():
        weight.stop_gradient = name.startswith(tuple(f"models.student.{part}" for part in parts))
    return loop


@pytest.mark.parametrize(
    ("frozen", "said"),
    [
        ((), None),
        (("encoder.encoder.layers.0.linear1", "encoder.pooler"), None),
        (("encoder.encoder.layers.1",), "no gradient reaches layer 1 of student"),
        (("encoder.embeddings", "encoder.encoder.layers.0"), "no gradient reaches the embeddings, layer 0 of student"),
        (("heads",), "no gradient reaches the head of topic of student"),
    ],
)
def test_a_part_that_gets_no_gradient_is_reported_once(frozen: tuple[str, ...], said: Any, tmp_path: Path) -> None:
    freeze(build(tmp_path, Stream()), *frozen).train()
    warnings = [event["text"] for event in read_events(tmp_path) if event["event"] == "warning"]
    assert len(warnings) == (said is not None)
    assert all(said in warning for warning in warnings)

"""The numbers of the study in benchmarks/quality/real_teacher against plain NumPy: made ones, and those it keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality.real_teacher.arms import GROUPS, ORDERS
from benchmarks.quality.real_teacher.claims import average, tasks_of
from benchmarks.quality.real_teacher.intervals import interval, packed, unpacked
from benchmarks.quality.real_teacher.page import costs_table, latencies, page, timed
from benchmarks.quality.real_teacher.parts import SEEDS
from ernie_tiny.batch import Array
from tests.benchmarks.test_real_teacher_claims import everywhere, made_arm, made_study

FEW = {  # the columns of the group, each with its draws or sizes
    "bustm": [f"bustm-{draw}" for draw in range(5)],
    "eprstmt": [f"eprstmt-{draw}" for draw in range(5)],
    "few_tnews": ["few_tnews-480", "few_tnews-1920"],
    "few_ocnli": ["few_ocnli-1536"],
}
KEPT = Path(__file__).resolve().parents[2] / "benchmarks/quality/real_teacher.json"


@pytest.fixture(scope="module")
def kept() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def answered(seeds: int, share: float, draw: np.random.Generator) -> list[dict[str, Array]]:
    """By seed and task, which of its examples are right; some 60 of a task."""
    sizes = {task: 50 + 10 * place for place, draws in enumerate(FEW.values()) for task in draws}
    return [{task: draw.random(size) < share for task, size in sizes.items()} for _ in range(seeds)]


def study_of(above: Sequence[Mapping[str, Array]], below: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    """A study whose arms d and c answer so."""
    arms = {}
    for letter, seeds in (("d", above), ("c", below)):
        arms[letter] = made_arm(*({task: 100 * float(each.mean()) for task, each in right.items()} for right in seeds))
        for arm, right in zip(arms[letter]["seeds"].values(), seeds):
            arm["right"] = {task: packed(each) for task, each in right.items()}
    made = made_study(**arms)
    made["examples"] = {task: len(right) for task, right in above[0].items()}
    return made


def by_numpy(above: Sequence[Mapping[str, Array]], below: Sequence[Mapping[str, Array]]) -> list[float]:
    """The interval of the gain, from one table a column of the page: gains in points, [seeds, examples]."""
    tables = [
        100 * np.array([
            np.mean([one[task].astype(float) - other[task] for task in draws], axis=0)
            for one, other in zip(above, below)
        ])
        for draws in FEW.values()
    ]  # fmt: skip
    draw, gains = np.random.default_rng(0), []
    for _ in range(1000):
        seeds = draw.integers(len(above), size=len(above))
        columns = [table[seeds][:, draw.integers(table.shape[1], size=table.shape[1])].mean() for table in tables]
        gains.append(np.mean(columns))
    return [float(end) for end in np.percentile(gains, (2.5, 97.5))]


def test_an_interval_pairs_examples_and_seeds_and_counts_draws_once() -> None:
    draw = np.random.default_rng(7)
    above, below = answered(3, 0.7, draw), answered(3, 0.6, draw)
    made = study_of(above, below)
    assert interval(made, "d", "c", GROUPS["few labels"]) == pytest.approx(by_numpy(above, below))
    averages = [average(made, arm, seed, GROUPS["few labels"]) for arm in "dc" for seed in SEEDS]
    assert averages == pytest.approx([
        np.mean([np.mean([100 * right[task].mean() for task in draws]) for draws in FEW.values()])
        for right in (*above, *below)
    ])  # fmt: skip


def test_an_interval_leaves_out_a_seed_that_lacks_a_task() -> None:
    draw = np.random.default_rng(8)
    above, below = answered(2, 0.7, draw), answered(2, 0.6, draw)
    made = study_of(above, below)
    del made["arms"]["d"]["seeds"]["2"]["right"]["bustm-3"]  # as of a run that is scored on some tasks alone, so far
    assert interval(made, "d", "c", GROUPS["few labels"]) == pytest.approx(by_numpy(above[:1], below[:1]))
    del made["arms"]["c"]["seeds"]["1"]["right"]["bustm-3"]
    assert interval(made, "d", "c", GROUPS["few labels"]) is None


def test_a_shape_has_one_latency() -> None:
    made = made_study(
        a=made_arm(everywhere(50.0)), d=made_arm(*map(everywhere, (40.0, 41.0))), k=made_arm(everywhere(42.0))
    )
    for (letter, seed), latency in {("a", "1"): 3.0, ("d", "1"): 60.0, ("d", "2"): 3.5, ("k", "1"): 2.0}.items():
        made["arms"][letter]["seeds"][seed]["latency"] = latency
    assert latencies(made) == {16_000_000: 3.25}
    made["arms"]["k"]["seeds"]["1"]["latency"] = None
    assert latencies(made) == {16_000_000: 3.5}


def test_times_of_two_processors_are_not_mixed() -> None:
    made = made_study(
        a=made_arm(everywhere(50.0)), d=made_arm(*map(everywhere, (40.0, 41.0))), k=made_arm(everywhere(42.0))
    )
    for letter, seed, processor, latency, hours in (
        ("a", "1", "fast", 3.0, 1.0), ("d", "1", "slow", 60.0, 9.0), ("d", "2", "fast", 4.0, 5.0),
        ("k", "1", "slow", 50.0, 8.0),
    ):  # fmt: skip
        made["arms"][letter]["seeds"][seed] |= {"processor": processor, "latency": latency, "hours": hours}
    assert latencies(made) == {16_000_000: 3.5}
    name, seeds = timed(made)
    assert name == "fast" and [seed["hours"] for letter in "adk" for seed in seeds[letter]] == [1.0, 5.0]
    own, other = (
        next(line for line in costs_table(made).splitlines() if line.startswith(f"| {arm} |")) for arm in "dk"
    )
    assert "| 5.00 |" in own and "40.50" in own  # its quality is of both
    assert "| - |" in other and "42.00" in other


def test_the_scores_that_are_kept_are_those_of_the_answers_that_are_kept(kept: Mapping[str, Any]) -> None:
    for arm in kept["arms"].values():
        for seed in arm["seeds"].values():
            found = {task: 100 * unpacked(text, kept["examples"][task]).mean() for task, text in seed["right"].items()}
            assert found == pytest.approx(seed["scores"])


def test_the_intervals_that_are_kept_are_those_of_the_answers_that_are_kept(kept: Mapping[str, Any]) -> None:
    for above, below, group in ORDERS:
        order = f"{above} > {below}, {group}"
        ends = interval(kept, above, below, tasks_of(kept, group))
        assert (ends is not None) == (order in kept["intervals"])
        if ends is not None:
            assert list(ends) == pytest.approx(kept["intervals"][order])


def test_the_page_is_that_of_the_numbers_that_are_kept(kept: Mapping[str, Any]) -> None:
    assert KEPT.with_suffix(".md").read_text(encoding="utf-8") == page(kept)

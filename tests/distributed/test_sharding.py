"""Optimizer states that are partitioned over two processes: the same weights as one process, half the state in each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ernie_tiny.training.sharding import partition
from tests.distributed.test_processes import finish, start

SHARD = Path(__file__).with_name("shard.py")


def train(number: int, folder: Path, sharding: str = "optimizer") -> list[dict[str, np.ndarray]]:
    """The weights in each of so many processes when the stage has ended."""
    assert finish(start(number, [str(SHARD), str(folder), sharding], folder)) == [0] * number
    return [dict(np.load(folder / f"weights.{rank}.npz")) for rank in range(number)]


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    assert one.keys() == other.keys()
    return max(float(np.abs(value - other[name]).max()) for name, value in one.items())


def held(folder: Path, rank: int) -> int:
    return int((folder / f"held.{rank}").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("alone")
    return folder, train(1, folder, "none")[0]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """The folder and the weights of two processes that share the optimizer's states."""
    folder = tmp_path_factory.mktemp("sharded")
    found = train(2, folder)
    assert difference(*found) == 0
    return folder, found[0]


def half_way(folder: Path, to: Path) -> Path:
    """A copy of what a run had written when it was half done."""
    shutil.copytree(folder / "checkpoint-3", to / "checkpoint-3")
    return to


def test_two_processes_take_the_clipped_steps_of_one(alone, sharded) -> None:
    assert difference(alone[1], sharded[1]) < 1e-6


def test_each_process_holds_about_half_of_the_state(alone, sharded) -> None:
    parts = [held(sharded[0], rank) for rank in (0, 1)]
    assert sum(parts) == held(alone[0], 0)
    assert max(parts) < 0.52 * sum(parts)


def test_a_checkpoint_of_two_processes_holds_what_one_of_one_does(alone, sharded) -> None:
    one, other = (load_file(folder / "checkpoint-6/optimizer.safetensors") for folder, _ in (alone, sharded))
    assert {name: value.shape for name, value in one.items()} == {name: value.shape for name, value in other.items()}
    assert difference(one, other) < 1e-6


def test_resumed_partitioned_states_end_at_the_same_weights_bit_for_bit(sharded, tmp_path: Path) -> None:
    assert difference(train(2, half_way(sharded[0], tmp_path))[0], sharded[1]) == 0


def test_checkpoints_are_read_by_any_number_of_processes(alone, sharded, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert difference(train(1, half_way(sharded[0], tmp_path / "one"))[0], alone[1]) < 1e-6
    assert difference(train(2, half_way(alone[0], tmp_path / "two"))[0], alone[1]) < 1e-6


def test_the_largest_parameters_are_given_away_first() -> None:
    sizes = {"a": 5, "words": 100, "b": 60, "c": 30, "d": 4}
    assert partition(sizes, 2) == {"words": 0, "b": 1, "c": 1, "a": 1, "d": 1}
    assert set(partition({"only": 3}, 4).values()) == {0}

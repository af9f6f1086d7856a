"""Trains the small stage in each process on its rows of the batches, and writes down what it then holds.

python shard.py FOLDER SHARDING [RANK]: six steps, or what a checkpoint in the folder leaves of them. Before the last
but one the process RANK is killed, as by its host.
FOLDER/weights.<rank>.npz gets the weights, FOLDER/held.<rank> the number of the optimizer's state elements.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import paddle

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.training.checkpoint import latest_checkpoint
from tests.training.small_stage import Stream, build, weights

CLIPPED = 0.01  # a norm that the gradients of every step exceed


class Rows(Stream):
    """This process's rows of each batch."""

    def next_batch(self) -> Batch:
        if self.position == 4 and sys.argv[3:] == [str(processes.rank())]:
            os.kill(os.getpid(), signal.SIGKILL)
        batch = super().next_batch()
        own = slice(processes.rank(), None, processes.world_size())
        return dataclasses.replace(
            batch,
            example_ids=batch.example_ids[own],
            **{name: getattr(batch, name)[own] for name in ("input_ids", "token_type_ids", "attention_mask", "labels")},
        )


def main() -> None:
    folder, sharding = Path(sys.argv[1]), sys.argv[2]
    paddle.set_device("cpu")
    with processes.Connection():
        loop = build(folder, Rows(), dropout=0.0, max_grad_norm=CLIPPED, sharding=sharding)
        loop.train(latest_checkpoint(folder))
        rank = processes.rank()
        np.savez(folder / f"weights.{rank}.npz", **weights(loop))
        state = loop.optimizer.state_dict()
        held = sum(int(value.size) for key, value in state.items() if key != "LR_Scheduler")
        (folder / f"held.{rank}").write_text(str(held), encoding="utf-8")


if __name__ == "__main__":
    main()

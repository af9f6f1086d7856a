"""The weights that scored best on dev, kept on disk until the stage ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

from ernie_tiny import processes
from ernie_tiny.files import require_whole, to_json, whole_folder
from ernie_tiny.training.checkpoint import BEST, checkpoint_folder, checkpoints, prune_checkpoints
from ernie_tiny.training.network import StageNetwork
from ernie_tiny.training.states import load_weights, save_weights

SCORE_FILE = "score.json"  # beside the best weights


class BestWeights:
    """The best weights of a stage so far, those of earlier processes included, and their score.

    The score is read from the folder of the weights, not from the checkpoint: a kill may fall between the two.

    Raises:
        InputError: what an earlier process kept is damaged.
    """

    def __init__(self, network: StageNetwork, folder: Path) -> None:
        self._network, self._folder = network, folder
        self.score: Optional[float] = processes.from_main(self._read)

    def offer(self, score: float, step: int) -> None:
        """Keeps the weights as they are now, if their score is the best so far. Every process calls it."""
        if self.score is None or score > self.score:
            self.score = score
            processes.from_main(lambda: self._save(step))

    def load(self) -> None:
        """Puts the best weights back, if there was an evaluation. Every process calls it."""
        if self.score is not None:
            load_weights(self._network, checkpoints(self._folder, BEST)[0])
        processes.wait_for_all()  # the main one removes them when it has written the stage

    def _save(self, step: int) -> None:
        with whole_folder(checkpoint_folder(self._folder, step, BEST)) as best:
            save_weights(self._network, best)
            (best / SCORE_FILE).write_text(to_json(self.score), encoding="utf-8")
        prune_checkpoints(self._folder, keep=1, newest=step, name=BEST)

    def _read(self) -> Optional[float]:
        found = checkpoints(self._folder, BEST)
        if not found:
            return None
        require_whole(
            found[0],
            f"Remove {self._folder} to repeat the stage, or {found[0]} to go on without the best weights so far.",
        )
        return json.loads((found[0] / SCORE_FILE).read_text(encoding="utf-8"))

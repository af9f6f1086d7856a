"""An exported model answering: Paddle Inference below, the features and the decoding of training above."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ernie_tiny.batch import Batch
from ernie_tiny.data.answer import answer
from ernie_tiny.data.features import featurise
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.engines import load
from ernie_tiny.errors import InputError

TASK_FILE = "task.json"
LOGITS = ("logits",)  # what the network of an exported folder gives


class Predictor:
    """Answers examples of the task that a folder was exported for."""

    def __init__(self, folder: Path, threads: int = 1, gpu: Optional[int] = None) -> None:
        self.spec = read_spec(folder)
        self.tokenizer = load_tokenizer(folder)
        self._engine = load(folder, LOGITS, threads=threads, gpu=gpu)

    def predict(self, examples: Sequence[Example], batch_tokens: int = 8192) -> list[Prediction]:
        """Predictions in the order of the examples; cloze examples of one group belong into one call."""
        features = featurise(self.spec, examples, self.tokenizer, self.spec.max_length)
        return answer(self.spec, examples, features, self.tokenizer.pad_id, batch_tokens, self._network)

    def _network(self, batch: Batch) -> np.ndarray:
        logits = self._engine(batch)["logits"]
        return logits if batch.choice_mask is None else logits.reshape(batch.choice_mask.shape)


def read_spec(folder: Path) -> TaskSpec:
    """The task that a folder was exported for, with the input length that its model was trained with."""
    description = folder / TASK_FILE
    if not description.is_file():
        raise InputError(f"{description}: no such file; {folder} is no folder that tools/export.py wrote.")
    try:
        values: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))["task"]
        for key, value in values.items():
            values[key] = tuple(value) if isinstance(value, list) else value
        return TaskSpec(**values)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{description}: is damaged, or of another version of this project ({error}). Export the model anew with "
            "tools/export.py."
        ) from error

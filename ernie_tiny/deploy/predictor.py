"""An exported model answering: Paddle Inference below, the features and the decoding of training above."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from paddle import inference

from ernie_tiny.batch import Batch
from ernie_tiny.data.answer import answer
from ernie_tiny.data.features import featurise
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.errors import InputError

MODEL_PREFIX = "model"
TASK_FILE = "task.json"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


class Session:
    """The network of an exported folder, run by Paddle Inference.

    Args:
        threads: CPU threads of the mathematics library.
        gpu: Number of the GPU, or None for the CPU.
    """

    def __init__(self, folder: Path, threads: int = 1, gpu: Optional[int] = None) -> None:
        network, weights = folder / f"{MODEL_PREFIX}.json", folder / f"{MODEL_PREFIX}.pdiparams"
        for file in (network, weights):
            if not file.is_file():
                raise InputError(f"{file}: no such file; {folder} is no folder that tools/export.py wrote.")
        config = inference.Config(str(network), str(weights))
        config.disable_glog_info()
        config.enable_new_executor()
        config.enable_new_ir()
        config.enable_memory_optim()
        if gpu is None:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(threads)
        else:
            config.enable_use_gpu(256, gpu)
        try:
            self._predictor = inference.create_predictor(config)
        except (RuntimeError, ValueError, OSError) as error:
            said = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{folder}: {network.name} or {weights.name} is cut off or damaged ({said}). Copy the folder again, or "
                "export it anew with tools/export.py."
            ) from error

    def run(self, batch: Batch) -> np.ndarray:
        """The logits of a batch: [rows, labels], [rows, 1] or [rows, 2, length]."""
        for name in INPUTS:
            array = np.ascontiguousarray(getattr(batch, name), dtype=np.int64)
            self._predictor.get_input_handle(name).copy_from_cpu(array)
        self._predictor.run()
        output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        return output.copy_to_cpu()


class Predictor:
    """Answers examples of the task that a folder was exported for."""

    def __init__(self, folder: Path, threads: int = 1, gpu: Optional[int] = None) -> None:
        self.spec = read_spec(folder)
        self.tokenizer = load_tokenizer(folder)
        self._session = Session(folder, threads, gpu)

    def predict(self, examples: Sequence[Example], batch_tokens: int = 8192) -> list[Prediction]:
        """Predictions in the order of the examples; cloze examples of one group belong into one call."""
        features = featurise(self.spec, examples, self.tokenizer, self.spec.max_length)
        return answer(self.spec, examples, features, self.tokenizer.pad_id, batch_tokens, self._network)

    def _network(self, batch: Batch) -> np.ndarray:
        logits = self._session.run(batch)
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

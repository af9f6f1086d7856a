"""The endless stream of batches that a stage's data block describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional, Protocol

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import MlmTerm, StageConfig
from ernie_tiny.data.corpus import CorpusStream
from ernie_tiny.data.masking import mask_tokens
from ernie_tiny.data.sampling import TaskStream, sampling_weights
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.training.augmentation import training_features
from ernie_tiny.training.tasks import training_splits
from ernie_tiny.training.workspace import Workspace


class BatchStream(Protocol):
    """An endless, deterministic sequence of batches with a small position."""

    def next_batch(self) -> Batch: ...

    def all_inputs(self, batches: int) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def task_stream(workspace: Workspace, stage: StageConfig, tasks: tuple[str, ...], seed: int) -> TaskStream:
    """Batches of one task each, drawn by the stage's sampling."""
    data, optim = stage.data, stage.optim
    features = {task: training_features(workspace, stage, task) for task in tasks}
    sizes = {task: len(found) for task, found in features.items()}
    sampling = data.sampling
    return TaskStream(
        features,
        sampling_weights(sizes, sampling.strategy, sampling.exponent, sampling.weights),
        seed=seed,
        batch_size=optim.batch_size,
        max_tokens=optim.max_tokens,
        pad_id=workspace.tokenizer.pad_id,
        rank=processes.rank(),
        world_size=processes.world_size(),
    )


def training_examples(workspace: Workspace, stage: StageConfig, tasks: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Task to split ("train", "unlabelled") to the number of its examples that a stage is trained on; copies left out.

    Empty for general text.
    """
    return {
        task: {split: len(workspace.examples(task, split, limit)) for split, limit in training_splits(stage, spec)}
        for task, spec in zip(tasks, map(workspace.task, tasks))
        if stage.data.corpus is None
    }


def corpus_stream(workspace: Workspace, stage: StageConfig, seed: int) -> TextStream:
    """Batches of general text, masked where the objective asks for it."""
    data, optim, tokenizer = stage.data, stage.optim, workspace.tokenizer
    assert data.corpus is not None
    length = data.corpus_length
    stream = CorpusStream(
        workspace.corpus(data.corpus),
        seed=seed,
        batch_size=optim.batch_size or max(1, (optim.max_tokens or 0) // length),
        max_length=length,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        rank=processes.rank(),
        world_size=processes.world_size(),
    )
    return TextStream(stream, tokenizer, stage.objective.mlm, seed)


class TextStream:
    """General text with masked tokens, or as it is."""

    def __init__(self, stream: CorpusStream, tokenizer: Tokenizer, masking: Optional[MlmTerm], seed: int) -> None:
        self._stream, self._tokenizer, self._masking, self._seed = stream, tokenizer, masking, seed
        self._position = 0
        self._beginning = self.state_dict()

    def next_batch(self) -> Batch:
        batch, position = self._stream.next_batch(), self._position
        self._position += 1
        if self._masking is None:
            return batch
        term = self._masking
        return mask_tokens(batch, self._tokenizer, self._seed, position, term.probability, term.whole_words)

    def all_inputs(self, batches: int) -> Iterator[Batch]:
        """This process's share of the first batches of the stream; the position stays."""
        before = self.state_dict()
        self.load_state_dict(self._beginning)
        for _ in range(batches):
            yield self.next_batch()
        self.load_state_dict(before)

    def state_dict(self) -> dict[str, Any]:
        return {"position": self._position, "corpus": self._stream.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._position = state["position"]
        self._stream.load_state_dict(state["corpus"])

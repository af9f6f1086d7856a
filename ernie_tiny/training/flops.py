"""What a stage costs, estimated from the shapes in its config. Paddle is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ernie_tiny.config.schema import LABEL_TERMS, RunConfig, StageConfig, split_reference
from ernie_tiny.config.shapes import PRETRAINED, Shape, shape_of
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.data.tokenizer import count_tokens

BACKWARD = 2  # a backward pass costs about two forward passes


def stage_flops(run: RunConfig, stage: StageConfig, specs: Sequence[TaskSpec], tokens: int) -> Optional[float]:
    """Estimated FLOPs of training on so many tokens, with a live teacher; None for a model of unknown shape."""
    per_token = _flops_per_token(run, stage, input_length(stage, specs))
    return None if per_token is None else float(per_token * tokens)


def input_length(stage: StageConfig, specs: Sequence[TaskSpec]) -> int:
    """The most tokens that an input of the stage on these tasks has, or of its general text."""
    if stage.data.corpus is not None:
        return stage.data.corpus_length
    return stage.data.max_length or max(spec.max_length for spec in specs)


def _flops_per_token(run: RunConfig, stage: StageConfig, length: int) -> Optional[int]:
    """Forward and backward of the trained models, forward of the teachers; attention as over full inputs."""
    per_token = 0
    for name in stage.trained:
        shape = planned_shape(run, name)
        if shape is None:
            return None
        per_token += (1 + BACKWARD) * shape.forward_flops(length, shape.num_hidden_layers + stage.auxiliary_layers)
    for reference in stage.teachers:
        teacher = planned_shape(run, split_reference(reference)[0])
        if teacher is None:
            return None
        per_token += teacher.forward_flops(length, _taught_layers(stage, teacher))
    return per_token


def _taught_layers(stage: StageConfig, teacher: Shape) -> int:
    """How many of a teacher's layers run: up to the relations' layer where they are all that is read of it."""
    if [name for name in stage.objective.terms() if name not in LABEL_TERMS] != ["relation"]:
        return teacher.num_hidden_layers
    assert stage.objective.relation is not None
    return stage.objective.relation.teacher_layer % teacher.num_hidden_layers + 1


def planned_shape(run: RunConfig, name: str) -> Optional[Shape]:
    """A model's shape as far as config and vocabulary say it; a vocabulary yet to be built as large as it may get."""
    return shape_of(run.models[name], vocabulary_size(run))


def vocabulary_size(run: RunConfig) -> Optional[int]:
    """The tokens of a run's vocabulary, or None where nothing on this machine says it."""
    source = run.vocabulary_source
    if source is None:
        return run.tokenizer.vocab_size if run.tokenizer.build_from is not None else None
    return PRETRAINED[source].vocab_size if source in PRETRAINED else count_tokens(Path(source))

"""A warning where distillation would not make the model smaller. Paddle is not needed: the plan says it too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MOSTLY_EMBEDDINGS = 0.6  # a larger part of the parameters


@dataclass(frozen=True)
class Size:
    """Parameters of an encoder: embeddings, and all else, which are layers and pooler."""

    embeddings: int
    layers: int

    @property
    def total(self) -> int:
        return self.embeddings + self.layers

    def __str__(self) -> str:
        return f"{_millions(self.total)} ({_millions(self.embeddings)} embeddings, {_millions(self.layers)} layers)"


def size_warnings(stage: str, students: Mapping[str, Size], teachers: Mapping[str, Size]) -> Iterator[str]:
    """A sentence for each student of a stage that has no fewer parameters than its teachers together."""
    if not teachers:
        return
    taught = Size(sum(size.embeddings for size in teachers.values()), sum(size.layers for size in teachers.values()))
    for name, size in students.items():
        if size.total < taught.total:
            continue
        share = size.embeddings / size.total
        advice = f"Lower models.{name}.hidden_size or num_hidden_layers."
        if share > MOSTLY_EMBEDDINGS:
            advice = (
                f"{share:.0%} of them are embeddings: cut the vocabulary to the tokens that your texts use, with "
                "tools/prune_vocabulary.py, or narrow the embeddings."
            )
        yield (
            f"stages.{stage}: {name} is not smaller than its teacher: parameters {size}; {', '.join(teachers)}: "
            f"{taught}. {advice}"
        )


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"

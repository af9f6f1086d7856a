"""How a kind takes the answers of a teacher that lie in a file: as the logits that a model's head would have given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Optional

import numpy as np

from ernie_tiny.batch import Array, Feature, known
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.models.forms import MASKED_LOGIT


@dataclass(frozen=True)
class Recorded:
    """What a kind says of recorded answers.

    Attributes:
        texts: Example.texts as a row states them, for a row without an id; a fault is an InputError.
        options: Names of the options of a decision, in the order of the logits.
        labelled: The example with the label or answer that a row states; a fault is an InputError with its place.
        logits: Of a feature from an example's numbers, as the head gives them: [outputs], [candidates] or [outputs,
            length].
        softened: The same from a feature's labels, `softened` below; None of numbers, which are logits themselves.
        decisions: How many rows of numbers an example has; None for one, which is no list of rows.
        candidates: Example.candidates as a row states them: examples of the same texts may differ in them.
    """

    texts: Callable[[TaskSpec, Any, str], tuple[str, ...]]
    options: Callable[[TaskSpec, Example], tuple[str, ...]]
    labelled: Callable[[TaskSpec, Example, Any, str], Example]
    logits: Callable[[Feature, Array], Array] = lambda feature, numbers: numbers
    softened: Optional[Callable[[Feature, int, float], Array]] = lambda feature, options, smoothing: softened(
        np.array(feature.label), options, smoothing
    )[0]
    decisions: Callable[[Example], Optional[int]] = lambda example: None
    candidates: Callable[[Any, str], tuple[str, ...]] = lambda record, place: ()


@dataclass(frozen=True)
class Answer:
    """A teacher's answer to an example.

    Attributes:
        example: With the label that was given, where there is no more.
        options: Of a decision.
        numbers: float32 logits [options] or [decisions, options]; None of a label alone.
    """

    example: Example
    options: int
    numbers: Optional[Array] = None

    def agrees(self, other: Answer) -> bool:
        """Whether both say the same, but for rounding: data that holds a text twice has it answered twice."""
        if self.numbers is None or other.numbers is None:
            return self.numbers is other.numbers and self.example == other.example
        return np.allclose(self.numbers, other.numbers, atol=1e-3)

    def logits(self, recorded: Recorded, feature: Feature, smoothing: float) -> Array:
        """float32 of a feature of the example, without padding."""
        if self.numbers is not None:
            return recorded.logits(feature, self.numbers)
        if recorded.softened is None:
            return np.array(feature.label, np.float32)
        return recorded.softened(feature, self.options, smoothing)


def softened(labels: Array, options: int, smoothing: float) -> Array:
    """float32 [decisions, options]: log-probabilities of 1 - smoothing for the label, the rest shared by the others.

    Where no label is wanted, or known, all are 0.
    """
    with np.errstate(divide="ignore"):
        right, wrong = np.log(1 - smoothing), np.log(smoothing / max(1, options - 1))
    numbers = np.zeros((len(labels), options), np.float32)
    chosen = np.flatnonzero(known(labels))
    numbers[chosen] = max(wrong, MASKED_LOGIT)
    numbers[chosen, labels[chosen].astype(int)] = right
    return numbers


def with_label(example: Example, label: float) -> Example:
    """The example with a label in place of its own."""
    return replace(example, label=label)

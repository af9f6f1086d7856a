"""A stage's objective: a weighted sum of named terms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Optional

import paddle
from paddle import Tensor, nn

from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import ObjectiveConfig
from ernie_tiny.distill.terms import NOTHING, TERMS, Kinds, Side
from ernie_tiny.models.signals import SignalRequest, Signals


class Objective(nn.Layer):
    """The terms of an ObjectiveConfig over the signals of a student and, where needed, a teacher.

    Its parameters are the projections from the student's width to the teacher's; they are trained, saved and
    resumed with the student, and are no part of it.

    Args:
        kinds: Of the tasks that the terms will read answers of, by task.
    Attributes:
        student_request, teacher_request: What the terms read, all together.
    """

    def __init__(
        self,
        config: ObjectiveConfig,
        student: Side,
        teacher: Optional[Side] = None,
        kinds: Kinds = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.config = config
        self.terms = nn.LayerDict(
            {name: TERMS[name](term, student, teacher, kinds) for name, term in config.terms().items()}
        )
        self.student_request: SignalRequest = reduce(or_, (term.student for term in self.terms.values()), NOTHING)
        self.teacher_request: SignalRequest = reduce(or_, (term.teacher for term in self.terms.values()), NOTHING)

    def weights(self, progress: float) -> dict[str, float]:
        """Each term's weight when this part, 0 to 1, of the stage's steps is done."""
        return {name: term.weight_at(progress) for name, term in self.config.terms().items()}

    def counts(self, batch: Batch) -> dict[str, int]:
        """How many things each term is the mean of in this batch."""
        return {name: term.count(batch) for name, term in self.terms.items()}

    def forward(
        self,
        student: Signals,
        teacher: Optional[Signals],
        batch: Batch,
        progress: float = 0.0,
        shares: Optional[Mapping[str, Tensor]] = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each raw term by name.

        Args:
            shares: A factor for each term where a step takes several batches or processes: this batch's counts over
                their mean in all of the step. So losses and gradients average to those of one large batch.
        """
        if teacher is None and self.teacher_request != NOTHING:
            raise ValueError(f"the terms {', '.join(self.terms)} need a teacher's signals")
        terms = {name: term(student, teacher, batch) for name, term in self.terms.items()}
        if shares is not None:
            terms = {name: value * shares[name] for name, value in terms.items()}
        weights = self.weights(progress)
        return paddle.add_n([weights[name] * value for name, value in terms.items()]), terms

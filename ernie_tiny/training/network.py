"""What a stage optimises, saves and resumes: its models, each with its objective."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any, Optional

import paddle
from paddle import Tensor, nn

from ernie_tiny.batch import Array, Batch
from ernie_tiny.distill.objective import Objective
from ernie_tiny.models.cpu_layers import use_cpu_layers
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest, Signals
from ernie_tiny.training.used_rows import UsedRows, train_all_rows, train_used_rows


class StageNetwork(nn.Layer):
    """The trained models by name, each with its objective.

    Several learn side by side from one pass of the teacher (online distillation, ERNIE 3.0 Titan, arXiv 2112.12731):
    their losses are summed, and since they share no weight, each takes the step that it would take alone.
    """

    def __init__(self, models: Mapping[str, MultiTaskModel], objectives: Mapping[str, Objective]) -> None:
        super().__init__()
        self.models: Any = nn.LayerDict(models)
        self.objectives: Any = nn.LayerDict(objectives)
        self._used_rows: list[UsedRows] = []
        use_cpu_layers(self)

    @property
    def model(self) -> MultiTaskModel:
        """The first of the models; most stages train one."""
        return next(iter(self.models.values()))

    def train_used_rows(self, ids: Array) -> bool:
        """Has the models train these rows of their token embeddings, until `train_all_rows`, where that is less.

        Returns whether it is for some of them.
        """
        found = (train_used_rows(model, ids) for model in self.models.values())
        self._used_rows = [rows for rows in found if rows is not None]
        return bool(self._used_rows)

    def decay_unused_rows(self, factor: float) -> None:
        """What a step of the optimizer does to the rows that it does not see: it multiplies them."""
        for rows in self._used_rows:
            rows.decay_others(factor)

    def train_all_rows(self) -> None:
        """Puts the rows that were not in use beside those that were trained."""
        for model in self.models.values():
            train_all_rows(model)
        self._used_rows = []

    @property
    def teacher_request(self) -> SignalRequest:
        """What the objectives read of a teacher, all together."""
        return reduce(or_, (objective.teacher_request for objective in self.objectives.values()))

    def weights(self, progress: float) -> dict[str, float]:
        """Each term's weight when this part, 0 to 1, of the stage's steps is done."""
        return {
            self.title(name, term): weight
            for name, objective in self.objectives.items()
            for term, weight in objective.weights(progress).items()
        }

    def counts(self, batch: Batch) -> dict[str, int]:
        """How many things each term is the mean of in this batch; all models have the same terms."""
        return next(iter(self.objectives.values())).counts(batch)

    def forward(
        self,
        batch: Batch,
        teacher: Optional[Signals],
        progress: float = 0.0,
        shares: Optional[Mapping[str, Tensor]] = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss and its raw terms. They are returned so that data parallelism sees what is used.

        `shares` are those of Objective.forward.
        """
        totals: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        for name, objective in self.objectives.items():
            signals = self.models[name](batch, objective.student_request)
            total, raw = objective(signals, teacher, batch, progress, shares)
            totals.append(total)
            terms.update({self.title(name, term): value for term, value in raw.items()})
        return paddle.add_n(totals), terms

    def title(self, model: str, what: str) -> str:
        """The name of something of a model: with the model's where there are several."""
        return what if len(self.models) == 1 else f"{model}/{what}"


class ClipEachModel(nn.ClipGradByGlobalNorm):
    """Clips the gradients of each model by their own norm, so that no model's step depends on another."""

    def __init__(self, clip_norm: float, network: StageNetwork) -> None:
        super().__init__(clip_norm)
        self._owner = {
            parameter.name: name
            for layers in (network.models, network.objectives)
            for name, layer in layers.items()
            for parameter in layer.parameters()
        }

    def __call__(self, params_grads: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        clipped: list[tuple[Tensor, Tensor]] = []
        for model in dict.fromkeys(self._owner.values()):
            clipped += super().__call__([pair for pair in params_grads if self._owner[pair[0].name] == model])
        return clipped

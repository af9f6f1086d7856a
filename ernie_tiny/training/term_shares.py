"""Finds the terms of an objective that hardly count beside the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

INTERVALS = 10  # logged ones that are looked at
SMALL = 0.01  # a share of the weighted loss below this hardly counts
WEIGHTED, RAW = "weighted/", "raw/"


class TermShares:
    """The largest share of its model's loss that each weighted term has had.

    Where a term's weight rises, by warm_in or final_weight, what came before says nothing: counting begins anew.

    Args:
        stage: Stage name, with the task's behind a slash in a stage that runs per task.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._largest: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._weights: dict[str, float] = {}
        self._settled: set[str] = set()  # terms that count, or of which it has been said that they do not

    def add(self, values: Mapping[str, float]) -> list[str]:
        """A sentence for each term that has stayed small for ten intervals, this one included.

        Args:
            values: What is logged of an interval: raw/<term> and weighted/<term>, <term> with its model's name and a
                slash before it where a stage trains several.
        """
        weighted = {name[len(WEIGHTED) :]: abs(value) for name, value in values.items() if name.startswith(WEIGHTED)}
        for name, value in weighted.items():
            if self._rises(name, value, abs(values[RAW + name])):
                self._counts[name], self._largest[name] = 0, 0.0
                continue
            total = sum(other for term, other in weighted.items() if _model(term) == _model(name))
            self._counts[name] += 1
            self._largest[name] = max(self._largest[name], value / total if total else 0.0)
            if not value < SMALL * total:  # NaN is for others to find
                self._settled.add(name)
        return self._warnings(INTERVALS)

    def end(self) -> list[str]:
        """The sentences of a stage that ends before ten intervals."""
        return self._warnings(1)

    def _rises(self, name: str, value: float, raw: float) -> bool:
        """Whether a term's weight is higher than in the interval before; a raw loss of 0 does not tell."""
        if not raw:
            return False
        before, self._weights[name] = self._weights.get(name), value / raw
        return before is not None and self._weights[name] > before * (1 + 1e-6)

    def _warnings(self, intervals: int) -> list[str]:
        small = [name for name, count in self._counts.items() if count >= intervals and name not in self._settled]
        self._settled.update(small)
        return [self._sentence(name) for name in small]

    def _sentence(self, name: str) -> str:
        model, term = _model(name), name.rpartition("/")[2]
        loss = f"weighted loss of {model}" if model else "weighted loss"
        return (
            f"{self._stage}: the term {term} is at most {100 * self._largest[name]:.2g} % of the {loss} over "
            f"{self._counts[name]} logged intervals, so that it hardly counts. Look at "
            f"stages.{self._stage.partition('/')[0]}.objective.{term}.weight, or take the term out."
        )


def _model(name: str) -> str:
    return name.rpartition("/")[0]

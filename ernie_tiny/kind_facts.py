"""The plain values of kinds of tasks, for config and data, which stand below the kinds themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions
from types import MappingProxyType
from typing import Any, Optional

from ernie_tiny.errors import InputError, offer

# The forms of heads: what a head gives for a batch. See ernie_tiny.models.forms.
ROW, CANDIDATE, POSITION = "per row", "per candidate", "per position"
HEADS_FILE = "heads.json"  # beside the weights of a model that this project saved: its heads and their labels

# "kind" of a head in a HEADS_FILE written before heads had forms, to its form and the number of its outputs (None: one
# a label).
OLD_HEADS: Mapping[str, tuple[str, Optional[int]]] = MappingProxyType(
    {"classification": (ROW, None), "regression": (ROW, 1), "choice": (CANDIDATE, 1), "span": (POSITION, 2)}
)
SCHEMES = ("bio", "bioes", "bmes")  # of tags; see ernie_tiny.kinds.tags
SCORERS = ("cmrc2018", "squad")  # of reading: whose definitions of exact match and F1
ENTRY_POINTS = "ernie_tiny.kinds"  # group in which another package names a kind of its own


@dataclass(frozen=True)
class KindFacts:
    """What config and data have to know of a kind.

    Attributes:
        name: As a config has it.
        form: Of the head: ROW, CANDIDATE or POSITION.
        metrics: That answers can be scored by; the first is the one of a task that names none.
        labelled: Whether a task of the kind names its labels.
        fewest_labels: How many it names at least.
        texts: How many fields of a record may hold texts, for records that have them (as a task's `texts` names them);
            () for a kind whose files have a form of their own.
        two_label_metrics: Metrics that are those of the second of two labels.
        held_out: Whether a part of the training files can be held out by the texts of their rows.
        scorers: Whose definition of the metrics a task may choose; () where there is one.
        not_recurrent: Why a recurrent student cannot answer the kind, as the end of a sentence; "" if it can.
        not_augmented: What replaced tokens would spoil, as the end of a sentence; "" if nothing.
        plain_texts: How many texts make a question of a deployed model, of a kind whose files have a form of their
            own; 0 where it takes a record.
        transformers_head: Which class of transformers has its head, as in BertFor...; "" if none has.
    """

    name: str
    form: str
    metrics: tuple[str, ...]
    labelled: bool = False
    fewest_labels: int = 2
    texts: tuple[int, ...] = ()
    two_label_metrics: tuple[str, ...] = ()
    held_out: bool = False
    scorers: tuple[str, ...] = ()
    not_recurrent: str = ""
    not_augmented: str = ""
    plain_texts: int = 0
    transformers_head: str = ""

    @property
    def in_windows(self) -> bool:
        """Whether a text longer than an input becomes several, so that an example has as many features."""
        return self.form == POSITION


def _classes(name: str, *texts: int, not_augmented: str = "") -> KindFacts:
    metrics = ("accuracy", "f1", "matthews")
    return KindFacts(
        name,
        ROW,
        metrics,
        True,
        texts=texts,
        two_label_metrics=("f1",),
        held_out=True,
        not_augmented=not_augmented,
        transformers_head="SequenceClassification",
    )


FACTS: Mapping[str, KindFacts] = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            _classes("classification", 1),
            _classes("pair", 2),
            _classes("keywords", 2),
            _classes("coreference", 1, not_augmented="the marks in the text that show which two spans are meant"),
            KindFacts(
                "regression",
                ROW,
                ("pearson", "spearman"),
                texts=(1, 2),
                held_out=True,
                transformers_head="SequenceClassification",
            ),
            KindFacts("multiple_choice", CANDIDATE, ("accuracy",), transformers_head="MultipleChoice"),
            KindFacts("cloze", CANDIDATE, ("accuracy",), transformers_head="MultipleChoice"),
            KindFacts(
                "reading",
                POSITION,
                ("exact_match", "f1"),
                scorers=SCORERS,
                not_recurrent="its tokens are not compared with the question",
                not_augmented="its spans, whose offsets point into the text",
                transformers_head="QuestionAnswering",
            ),
            KindFacts(
                "labelling",
                POSITION,
                ("f1", "precision", "recall"),
                labelled=True,
                fewest_labels=1,
                held_out=True,
                not_augmented="its entities, which are tagged token by token",
                plain_texts=1,
                transformers_head="TokenClassification",
            ),
        )
    }
)


def facts_of(kind: str) -> KindFacts:
    """The facts of a kind, of this project or of another package.

    Raises:
        InputError: There is no such kind, or the package that has it cannot be imported.
    """
    return FACTS[kind] if kind in FACTS else foreign_kind(kind).facts


def foreign_kind(kind: str) -> Any:
    """The ernie_tiny.kinds.kind.Kind that an installed package names in the entry points "ernie_tiny.kinds".

    Raises:
        InputError: No package has it, or its package cannot be imported.
    """
    found = _foreign(tuple(sys.path))
    if kind not in found:
        raise InputError(f"kind = {kind!r}. {offer(kind, [*FACTS, *found])}")
    try:
        loaded = found[kind].load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"kind = {kind!r} is said to be {found[kind].value}, which cannot be imported ({error}). Install "
            "the package that has it again."
        ) from error
    if not isinstance(getattr(loaded, "facts", None), KindFacts):
        raise InputError(
            f"kind = {kind!r} is said to be {found[kind].value}, which is no Kind but {type(loaded).__name__}. Its "
            "package names it in the entry points ernie_tiny.kinds, as in my_package.my_module:MY_KIND."
        )
    return loaded


@lru_cache(maxsize=4)
def _foreign(path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Name to entry point, of every package that Python finds on this path."""
    points = (point for package in distributions(path=list(path)) for point in package.entry_points)
    return {point.name: point for point in points if point.group == ENTRY_POINTS}

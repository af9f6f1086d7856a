"""How numbers and models are written for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

LABELS = {
    "majority": "most frequent label",
    "teacher": "teacher",
    "student": "student",
    "baseline": "student, no distillation",
}
OTHER_CLASS = "other"  # of all models that have a title of their own


def number(value: Optional[float], spec: str = ",.1f") -> str:
    """A number for people; "-" for none or for one that is not finite."""
    return format(value, spec) if value is not None and math.isfinite(value) else "-"


def with_deviation(value: Optional[float], deviation: Optional[float], spec: str = ".2f") -> str:
    """A number, with the standard deviation over seeds where there is one."""
    known = deviation is not None and math.isfinite(deviation)
    return number(value, spec) + (f" ± {number(deviation, spec.lstrip('+'))}" if known else "")


def aligned(values: Sequence[Optional[float]]) -> list[str]:
    """Numbers with one decimal, or with two where the smallest is below ten."""
    smallest = min((value for value in values if value is not None), default=0)
    return [number(value, ",.1f" if smallest >= 10 else ",.2f") for value in values]


def label(role: str) -> str:
    """What a model is called in a table: a role has a label, a further model is called by its title."""
    return LABELS.get(role, role)


def css_class(role: str) -> str:
    return role if role in LABELS else OTHER_CLASS

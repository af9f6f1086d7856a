"""Which layer of the teacher teaches which layer of the student."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ernie_tiny.errors import InputError, offer

STRATEGIES = ("uniform", "skip", "last", "top")


def layer_map(spec: Sequence[str], student_layers: int, teacher_layers: int) -> tuple[tuple[int, int], ...]:
    """Pairs (student layer, teacher layer), counted from 0.

    With M layers of the student, N >= M of the teacher, and m = 1, ..., M as the papers count:

    - ("uniform",): m to m N / M, rounded half up; 3 m for 4 of 12 (TinyBERT, arXiv 1909.10351).
    - ("skip",): m to m k with k = N / M rounded down, m < M: layers 2, 4, 6, 8, 10 of 12 for 6 (PKD-Skip, arXiv
      1908.09355). The last layer is left out, as it learns from the teacher's answers already.
    - ("last",): m to m + N - M, the highest M layers of the teacher (PKD-Last; TinyBERT's "top mapping"). PKD leaves
      m = M out here too, TinyBERT does not, nor does this.
    - ("top",): M to N alone, for any M and N (MiniLM, arXiv 2002.10957).
    - ("0:2", "1:5"): these pairs, student:teacher, counted from 0.

    Raises:
        InputError: neither a strategy nor pairs; a layer that a model does not have; a student that is deeper than
            its teacher, or for "skip" has one layer alone.
    """
    if len(spec) == 1 and ":" not in spec[0]:
        return _by_strategy(spec[0], student_layers, teacher_layers)
    if not spec:
        raise InputError(f"layers is empty: name a strategy ({', '.join(STRATEGIES)}) or pairs such as 0:2.")
    return tuple(_pair(text, student_layers, teacher_layers) for text in spec)


def _by_strategy(name: str, student_layers: int, teacher_layers: int) -> tuple[tuple[int, int], ...]:
    if name not in STRATEGIES:
        raise InputError(f"layers = {name!r}: {offer(name, STRATEGIES)} Or give pairs such as 0:2.")
    if name == "top":
        return ((student_layers - 1, teacher_layers - 1),)
    if student_layers > teacher_layers:
        raise InputError(
            f"layers = {name!r}: the student has {student_layers} layers and the teacher only {teacher_layers}. "
            "Give pairs such as 0:2, or use 'top'."
        )
    numbers = range(1, student_layers + 1)
    if name == "uniform":
        taught_by = [(2 * m * teacher_layers + student_layers) // (2 * student_layers) for m in numbers]
    elif name == "last":
        taught_by = [m + teacher_layers - student_layers for m in numbers]
    elif student_layers > 1:
        taught_by = [m * (teacher_layers // student_layers) for m in numbers[:-1]]
    else:
        raise InputError("layers = 'skip' leaves out the last layer, and the student has no other. Use 'top'.")
    return tuple((own - 1, other - 1) for own, other in zip(numbers, taught_by))


def _pair(text: str, student_layers: int, teacher_layers: int) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    if found is None:
        raise InputError(f"layers has {text!r}: in a list, each is a pair student:teacher such as 0:2.")
    own, other = int(found[1]), int(found[2])
    for side, layer, count in (("student", own, student_layers), ("teacher", other, teacher_layers)):
        if layer >= count:
            raise InputError(f"layers has {text!r}: the {side} has the layers 0 to {count - 1}, counted from 0.")
    return own, other

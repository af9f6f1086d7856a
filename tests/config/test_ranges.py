"""Every number of the schema has a range, and one outside is refused wherever it stands."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

from ernie_tiny.config import load_config
from ernie_tiny.config.ranges import RANGES, Range, check_numbers, ranges_of
from ernie_tiny.config.schema import RunConfig, StageConfig
from ernie_tiny.errors import InputError


def classes(kind: Any, found: dict[type, None]) -> None:
    """The dataclasses that a config of this type can hold."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind not in found:
        found[kind] = None
        for hint in get_type_hints(kind).values():
            classes(hint, found)
    for part in get_args(kind):
        classes(part, found)


def holds_numbers(hint: Any) -> bool:
    return hint in (int, float) or any(holds_numbers(part) for part in get_args(hint))


def schema_classes() -> dict[type, None]:
    found: dict[type, None] = {}
    classes(RunConfig, found)
    return found


def schema_numbers() -> Iterator[tuple[type, str]]:
    for kind in schema_classes():
        yield from ((kind, name) for name, hint in get_type_hints(kind).items() if holds_numbers(hint))


def test_every_number_of_the_schema_has_a_range_and_every_range_a_number() -> None:
    walked = set(schema_numbers())
    assert len(walked) > 60
    assert walked == {(kind, name) for kind in schema_classes() for name in ranges_of(kind)}
    assert set(RANGES) <= {part for kind in schema_classes() for part in kind.__mro__}


def fault(key: str, reason: str) -> InputError:
    return InputError(f"{key} {reason}")


@pytest.mark.parametrize(("kind", "name"), list(schema_numbers()), ids=lambda one: getattr(one, "__name__", one))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -(2**70)])
def test_what_is_no_number_for_a_run_is_refused_everywhere(kind: type, name: str, value: float) -> None:
    hint = get_type_hints(kind)[name]
    held: Any = {"x": value} if "Mapping" in str(hint) else (value,) if "tuple" in str(hint) else value
    required = [one.name for one in dataclasses.fields(kind) if one.default is one.default_factory]
    block = kind(**{one: "x" for one in required if one != name}, **{name: held})
    with pytest.raises(InputError, match=f"^here.{name}.*must be"):
        check_numbers(block, "here", fault)


def test_ranges_say_what_they_hold() -> None:
    half = Range(0, 1, low_open=True, high_open=True)
    assert str(half) == "above 0 and below 1" and half.holds(0.5) and not half.holds(0) and not half.holds(1)
    closed = Range(0, 1)
    assert str(closed) == "at least 0 and at most 1" and closed.holds(0) and closed.holds(1) and not closed.holds(1.5)
    assert str(Range(0, math.inf)) == "at least 0"
    assert StageConfig in RANGES


CONFIG = """\
name: toy
models: {student: {num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2}}
data: {tasks: {mine: {kind: pair, texts: [a, b], labels: ["0", "1"], files: {train: [a.jsonl], dev: [a.jsonl]}}}}
stages:
  - name: s
    train: student
    data: {tasks: [mine]}
    objective: {hard: {}}
    optim: {max_steps: 3, batch_size: 4}
"""


@pytest.mark.parametrize(
    "override",
    [
        "seed=-1",
        "seed=4294967296",
        "stages.s.optim.adam_beta1=1.0",
        "stages.s.optim.adam_beta2=1.5",
        "models.student.hidden_dropout_prob=1.5",
        "stages.s.optim.weight_decay=-1",
        "stages.s.optim.adam_epsilon=0",
        "stages.s.optim.max_grad_norm=-1",
        "stages.s.auxiliary_layers=-1",
        "stages.s.objective.hard.warm_in=2",
        "stages.s.objective.hard.final_weight=-1",
        "stages.s.data.sampling.exponent=-1",
        "stages.s.data.sampling.weights={mine: 0}",
        "runtime.threads=-1",
        "runtime.save_steps=-1",
        "data.tasks.mine.held_out={dev: 1}",
    ],
)
def test_a_number_out_of_its_range(override: str, tmp_path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    load_config(path)
    key = override.partition("=")[0]
    with pytest.raises(InputError, match=rf"^-o {re.escape(override)}: {re.escape(key)}.* = .*: must be "):
        load_config(path, [override])

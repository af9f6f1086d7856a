"""The range of every number that a config may hold; a test walks the schema, so that none is left out.

What depends on other keys (layers that a model has, lengths that fit its positions) is checked where those are known.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ernie_tiny.config import schema
from ernie_tiny.config.check_objective import Fault
from ernie_tiny.config.data import TaskConfig
from ernie_tiny.config.results import ExportConfig, ReportConfig


@dataclass(frozen=True)
class Range:
    """The numbers from low to high; an open end is not one of them. Infinity and NaN are in no range."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def holds(self, number: float) -> bool:
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        return above and below and math.isfinite(number)

    def __str__(self) -> str:
        """What must hold, to stand behind "must be"."""
        low = f"{'above' if self.low_open else 'at least'} {self.low:.10g}"
        high = f"{'below' if self.high_open else 'at most'} {self.high:.10g}"
        return low if math.isinf(self.high) else f"{low} and {high}"


LARGEST = 2**31 - 1  # of Paddle's sizes and of what NumPy's and Paddle's random states take
COUNT = Range(0, LARGEST, low_open=True)
COUNT_OR_NONE = Range(0, LARGEST)
LAYER = Range(-LARGEST, LARGEST)  # from the end where it is negative; check_objective knows the layers
POSITIVE = Range(0, math.inf, low_open=True)
NOT_NEGATIVE = Range(0, math.inf)
PART = Range(0, 1)
REAL_PART = Range(0, 1, low_open=True)
PART_BELOW_ONE = Range(0, 1, high_open=True)
OPTIM = {
    **dict.fromkeys(("learning_rate", "epochs", "adam_epsilon"), POSITIVE),
    **dict.fromkeys(("max_steps", "batch_size", "max_tokens", "accumulate"), COUNT),
    **dict.fromkeys(("weight_decay", "max_grad_norm"), NOT_NEGATIVE),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), PART_BELOW_ONE),
    "warmup_ratio": PART,
}
STAGE_DATA = {"max_length": COUNT, "examples": COUNT, "unlabelled_examples": COUNT_OR_NONE}

# Of a mapping or a list of numbers it is the range of each. Fields that are inherited stand with the class that they
# are inherited from.
RANGES: Mapping[type, Mapping[str, Range]] = {
    schema.RunConfig: {"seed": COUNT_OR_NONE},
    schema.RuntimeConfig: {
        "threads": COUNT_OR_NONE,
        "logging_steps": COUNT,
        "save_steps": COUNT_OR_NONE,
        "keep_checkpoints": COUNT,
    },
    TaskConfig: {"held_out": Range(0, 1, low_open=True, high_open=True), "max_length": COUNT},
    schema.TokenizerConfig: {"vocab_size": COUNT},
    schema.ModelConfig: {
        **dict.fromkeys(("num_hidden_layers", "hidden_size", "embedding_size", "num_attention_heads"), COUNT),
        **dict.fromkeys(("head_size", "intermediate_size", "max_position_embeddings", "type_vocab_size"), COUNT),
        **dict.fromkeys(schema.DROPOUTS, PART_BELOW_ONE),
        "init_layers": COUNT_OR_NONE,
    },
    schema.SamplingConfig: {"exponent": NOT_NEGATIVE, "weights": POSITIVE},
    schema.AugmentConfig: {"copies": COUNT, "probability": REAL_PART, "candidates": COUNT},
    schema.StageDataConfig: STAGE_DATA,
    schema.Term: {"weight": POSITIVE, "final_weight": NOT_NEGATIVE, "warm_in": PART},
    schema.MlmTerm: {"probability": REAL_PART},
    schema.SoftTerm: {"temperature": POSITIVE},
    schema.RelationTerm: {"relation_heads": COUNT, "teacher_layer": LAYER, "student_layer": LAYER},
    schema.AttentionTerm: {"heads": COUNT},
    schema.OptimConfig: OPTIM,
    schema.SelectConfig: {"every": COUNT, "examples": COUNT},
    schema.TaskSettings: {
        **STAGE_DATA,
        **{name: OPTIM[name] for name in ("learning_rate", "epochs", "batch_size", "warmup_ratio")},
    },
    schema.AnswersConfig: {"label_smoothing": PART_BELOW_ONE},
    schema.StageConfig: {"ensemble": POSITIVE, "auxiliary_layers": COUNT_OR_NONE, "seed": COUNT_OR_NONE},
    ReportConfig: {"examples": COUNT, "batch_tokens": COUNT},
    ExportConfig: {"parity_examples": COUNT, "tolerance": POSITIVE, "max_loss": NOT_NEGATIVE},
}


def ranges_of(kind: type) -> dict[str, Range]:
    """The range of each number of a class of the schema, its own ones and those that it inherits."""
    return {name: found for part in reversed(kind.__mro__) for name, found in RANGES.get(part, {}).items()}


def check_numbers(block: Any, key: str, fault: Fault, given: Optional[Range] = None) -> None:
    """Raises an InputError for the first number out of its range in a block and all that it holds.

    Args:
        block: A dataclass of the schema, or what one holds.
        key: Its dotted name.
        given: The range of the numbers in it where it is no dataclass.
    """
    if given is not None and isinstance(block, (int, float)) and not given.holds(block):
        raise fault(key, f"= {block}: must be {given}.")
    if dataclasses.is_dataclass(block):
        ranges = ranges_of(type(block))
        for item in dataclasses.fields(block):
            dotted = f"{key}.{item.name}" if key else item.name
            check_numbers(getattr(block, item.name), dotted, fault, ranges.get(item.name))
    elif isinstance(block, Mapping):
        for name, value in block.items():
            check_numbers(value, f"{key}.{name}", fault, given)
    elif isinstance(block, tuple):
        for index, value in enumerate(block):
            check_numbers(value, f"{key}.{getattr(value, 'name', index)}", fault, given)

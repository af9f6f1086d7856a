"""Shapes of encoders by published name, and their parameter counts, without building a model."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Optional, Union

from ernie_tiny.config.schema import DROPOUTS, ModelConfig
from ernie_tiny.errors import InputError
from ernie_tiny.family_facts import FACTS, FamilyFacts, common_config, facts_of_folder

TASK_TYPES = 3  # rows of the task-type embedding of ernie-3.0-base-zh; the students have none


@dataclass(frozen=True)
class EncoderShape:
    """The numbers that fix an encoder on paddle.nn.TransformerEncoder, embeddings and pooler included."""

    recurrent: ClassVar[bool] = False
    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int = 40000
    max_position_embeddings: int = 2048
    type_vocab_size: int = 4
    task_type_vocab_size: int = 0
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    embedding_size: Optional[int] = None  # of an ELECTRA whose embeddings are narrower than its layers
    head_size: Optional[int] = None  # of heads that do not fill hidden_size, as pruning leaves them

    @property
    def head_width(self) -> int:
        """Numbers of a query, key or value of one head."""
        return self.head_size or self.hidden_size // self.num_attention_heads

    @property
    def attention_width(self) -> int:
        """Numbers of a token's queries, keys or values, all heads side by side."""
        return self.num_attention_heads * self.head_width

    @property
    def embedding_parameters(self) -> int:
        rows = self.vocab_size + self.max_position_embeddings + self.type_vocab_size + self.task_type_vocab_size
        width = self.embedding_size or self.hidden_size
        projection = 0 if width == self.hidden_size else width * self.hidden_size + self.hidden_size
        return rows * width + 2 * width + projection  # + LayerNorm

    @property
    def layer_parameters(self) -> int:
        """Of one encoder layer: four projections, two feed-forward matrices, their biases, two LayerNorms."""
        hidden, inner, width = self.hidden_size, self.intermediate_size, self.attention_width
        return (4 * hidden * width + 3 * width + hidden) + (2 * hidden * inner + inner + hidden) + 4 * hidden

    @property
    def encoder_parameters(self) -> int:
        return self.num_hidden_layers * self.layer_parameters

    @property
    def parameters(self) -> int:
        """Embeddings, layers and pooler; no heads."""
        pooler = self.hidden_size * self.hidden_size + self.hidden_size
        return self.embedding_parameters + self.encoder_parameters + pooler

    def forward_flops(self, length: int, layers: Optional[int] = None) -> int:
        """Floating-point operations a token of one forward pass, embeddings and heads left out.

        Two a weight, and 4 x length x heads x head size a layer for scores and their product with the values.
        """
        layers = self.num_hidden_layers if layers is None else layers
        return layers * (2 * self.layer_parameters + 4 * length * self.attention_width)

    def kept_bytes(self, length: int) -> int:
        """What the backward pass needs of one layer, in bytes a token, in float32.

        34 x hidden + 5 x heads x length bytes in half precision (Korthikanti et al., arXiv 2205.05198, eq. 2), 8 of the
        34 for queries, keys, values and what attention makes of them; twice as many in float32, and with Paddle's
        dygraph twice that.
        """
        attention = 8 * self.attention_width + 5 * self.num_attention_heads * length
        return 4 * (26 * self.hidden_size + attention)

    @property
    def outline(self) -> str:
        size = f" of {self.head_size}" if self.head_size else ""
        return f"{self.num_hidden_layers}L{self.hidden_size}H, {self.num_attention_heads} heads{size}"


@dataclass(frozen=True)
class BiLstmShape:
    """The numbers that fix a BiLSTM encoder; hidden_size is the width of both directions together."""

    recurrent: ClassVar[bool] = True
    num_hidden_layers: int
    hidden_size: int
    embedding_size: int
    vocab_size: int = 40000
    type_vocab_size: int = 2
    hidden_dropout_prob: float = 0.1

    @property
    def embedding_parameters(self) -> int:
        return (self.vocab_size + self.type_vocab_size + 2) * self.embedding_size  # + LayerNorm

    @property
    def encoder_parameters(self) -> int:
        """Of the LSTMs: each of two directions has four gates, which read the input and its own state."""
        half = self.hidden_size // 2
        above = (self.num_hidden_layers - 1) * self.hidden_size
        return 2 * 4 * half * (self.embedding_size + above + self.num_hidden_layers * (half + 2))  # + two biases

    @property
    def parameters(self) -> int:
        """Embeddings, LSTMs and pooling; no heads."""
        attention = self.hidden_size * self.hidden_size + 2 * self.hidden_size
        comparison = 4 * self.hidden_size * self.hidden_size + self.hidden_size
        return self.embedding_parameters + self.encoder_parameters + attention + comparison

    def forward_flops(self, length: int, layers: Optional[int] = None) -> int:
        """Floating-point operations a token of one forward pass, embeddings and heads left out.

        Two a weight of the LSTMs and of the pooling's attention, which are all that a token meets; neither the
        length nor `layers`, the part of a Transformer that is needed, changes it.
        """
        return 2 * (self.encoder_parameters + self.hidden_size * self.hidden_size)

    def kept_bytes(self, length: int) -> int:
        """What the backward pass needs of one layer, in bytes a token: about 12 numbers a unit, not measured."""
        return 4 * 12 * self.hidden_size

    @property
    def outline(self) -> str:
        return f"BiLSTM {self.num_hidden_layers}L{self.hidden_size}H on embeddings of {self.embedding_size}"


Shape = Union[EncoderShape, BiLstmShape]


# ERNIE 3.0 Tiny v2 (no task-type embedding); base has the same shape as ernie-3.0-base-zh.
SHAPES: dict[str, EncoderShape] = {
    "base": EncoderShape(12, 768, 12, 3072),
    "medium": EncoderShape(6, 768, 12, 3072),
    "mini": EncoderShape(6, 384, 12, 1536),
    "micro": EncoderShape(4, 384, 12, 1536),
    "nano": EncoderShape(4, 312, 12, 1248),
    "pico": EncoderShape(3, 128, 2, 512),
}

PRETRAINED: dict[str, EncoderShape] = {
    "ernie-3.0-xbase-zh": EncoderShape(20, 1024, 16, 4096, task_type_vocab_size=16),
    "ernie-3.0-base-zh": EncoderShape(12, 768, 12, 3072, task_type_vocab_size=TASK_TYPES),
    **{
        f"ernie-3.0-{name}-zh": replace(SHAPES[name], task_type_vocab_size=16)
        for name in ("medium", "mini", "micro", "nano")
    },
    **{f"ernie-3.0-tiny-{name}-v2-zh": shape for name, shape in SHAPES.items()},
    "bert-base-chinese": EncoderShape(
        12, 768, 12, 3072, vocab_size=21128, max_position_embeddings=512, type_vocab_size=2
    ),
}


def shape_of(model: ModelConfig, vocab_size: Optional[int] = None) -> Optional[Shape]:
    """The shape of a configured model, or None for a name that is not in the table above.

    Args:
        vocab_size: Tokens of the run's vocabulary where it is known; it decides for models from a shape.
    Raises:
        KeyError: A needed number is missing; its name is the argument.
    """
    if model.pretrained is not None:
        return _pretrained_shape(model.pretrained)
    kind = BiLstmShape if FACTS[model.family].recurrent else EncoderShape
    numbers: dict[str, Any] = {f.name: getattr(model, f.name, None) for f in fields(kind)}
    given = {name: value for name, value in numbers.items() if value is not None}
    if vocab_size is not None:
        given["vocab_size"] = vocab_size
    if model.shape is not None:
        return replace(SHAPES[model.shape], **given)
    for name in ("num_hidden_layers", "hidden_size", "num_attention_heads"):
        if name in numbers and name not in given:
            raise KeyError(name)
    if kind is BiLstmShape:
        given.setdefault("embedding_size", given["hidden_size"])
    else:
        given.setdefault("intermediate_size", 4 * given["hidden_size"])
    return kind(**given)


def planned_positions(model: ModelConfig, pad_id: int) -> Optional[int]:
    """The longest input of a configured model, in tokens; None where it has no limit, or is not known.

    Args:
        pad_id: That of the run's vocabulary, for a model that is built from a shape.
    Errors as of `shape_of`.
    """
    rows = getattr(shape_of(model), "max_position_embeddings", None)
    facts = family_of(model)
    if model.pretrained is not None:
        pad_id = int((folder_config(model.pretrained) or {}).get("pad_token_id") or 0)
    return rows if rows is None or facts is None else rows - facts.first_position(pad_id)


def family_of(model: ModelConfig) -> Optional[FamilyFacts]:
    """The facts of a configured model's family; None for a pretrained model that is no folder here.

    Errors as of `folder_config`.
    """
    if model.pretrained is None:
        return FACTS[model.family]
    numbers = folder_config(model.pretrained)
    return None if numbers is None else facts_of_folder(numbers, model.pretrained)


def folder_config(pretrained: str) -> Optional[dict[str, Any]]:
    """The content of a folder's config.json, keys named as in its family; None for what is no folder that has one.

    Raises:
        ValueError: it is no JSON object.
        InputError: as of common_config.
    """
    config_file = Path(pretrained) / "config.json"
    if not config_file.is_file():
        return None
    numbers = json.loads(config_file.read_text(encoding="utf-8"))
    if not isinstance(numbers, dict):
        raise ValueError(f"it holds {numbers!r}")
    return common_config(numbers, pretrained)


def _pretrained_shape(name: str) -> Optional[Shape]:
    numbers = folder_config(name)
    if numbers is None:
        return PRETRAINED.get(name)
    kind = BiLstmShape if facts_of_folder(numbers, name).recurrent else EncoderShape
    given = {f.name: numbers[f.name] for f in fields(kind) if numbers.get(f.name, f.default) != f.default}
    if kind is EncoderShape and numbers.get("use_task_id"):
        given.setdefault("task_type_vocab_size", TASK_TYPES)
    else:
        given.pop("task_type_vocab_size", None)
    wrong = [key for key, value in given.items() if key not in DROPOUTS and not (type(value) is int and value > 0)]
    if type(numbers.get("pad_token_id")) not in (int, type(None)):
        wrong.append("pad_token_id")
    if wrong:
        raise InputError(
            f"{name}: {wrong[0]} = {repr(numbers[wrong[0]])[:80]} in its config.json is no number that an encoder can "
            "have there. Copy the file again."
        )
    return kind(**given)

"""Encoders as `transformers` saves them: PyTorch's names and layout, brought to Paddle's.

A linear layer's weight is [out, in] in PyTorch and [in, out] in Paddle. Every array of a file is accounted for: used,
known to be no weight, left out by name because it belongs to a head, or an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional

import numpy as np

from ernie_tiny.batch import Array
from ernie_tiny.errors import InputError
from ernie_tiny.family_facts import common_config
from ernie_tiny.models.weights import listed

WORDS = "embeddings.word_embeddings.weight"
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
POOLER = "pooler."
NO_WEIGHTS = ("embeddings.position_ids", "embeddings.token_type_ids")  # 0, 1, 2, ... that old versions kept
PARTS_OF_ENCODER = ("embeddings.", "embeddings_project.", "encoder.", "transformer.")
ACTIVATIONS = ("gelu", "relu")
KEYS = (  # of config.json that the families have too
    *("vocab_size", "hidden_size", "embedding_size", "num_hidden_layers", "num_attention_heads", "head_size"),
    "intermediate_size",
    *("hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings"),
    *("type_vocab_size", "task_type_vocab_size", "use_task_id", "initializer_range", "pad_token_id"),
)
# Layers of transformers to those of Paddle; {} stands for a layer's number. Those of DistilBERT are called otherwise.
LAYERS: Mapping[str, str] = MappingProxyType(
    {
        **{f"embeddings.{name}_embeddings": f"embeddings.{name}_embeddings" for name in ("word", "position")},
        **{f"embeddings.{name}_embeddings": f"embeddings.{name}_embeddings" for name in ("token_type", "task_type")},
        "embeddings.LayerNorm": "embeddings.layer_norm",
        "embeddings_project": "embeddings.project",
        "pooler.dense": "pooler.dense",
        **{
            f"{theirs}.{{}}.{layer}": f"encoder.layers.{{}}.{own}"
            for theirs, names in {
                "encoder.layer": {
                    "attention.self.query": "self_attn.q_proj",
                    "attention.self.key": "self_attn.k_proj",
                    "attention.self.value": "self_attn.v_proj",
                    "attention.output.dense": "self_attn.out_proj",
                    "attention.output.LayerNorm": "norm1",
                    "intermediate.dense": "linear1",
                    "output.dense": "linear2",
                    "output.LayerNorm": "norm2",
                },
                "transformer.layer": {
                    "attention.q_lin": "self_attn.q_proj",
                    "attention.k_lin": "self_attn.k_proj",
                    "attention.v_lin": "self_attn.v_proj",
                    "attention.out_lin": "self_attn.out_proj",
                    "sa_layer_norm": "norm1",
                    "ffn.lin1": "linear1",
                    "ffn.lin2": "linear2",
                    "output_layer_norm": "norm2",
                },
            }.items()
            for layer, own in names.items()
        },
    }
)
# The parts of the heads for masked tokens to those of MaskedTokenHead; "" is its output matrix, the word embeddings.
MASKED_TOKEN_HEADS: Mapping[str, str] = MappingProxyType(
    {
        "cls.predictions.transform.dense": "transform.",
        "cls.predictions.transform.LayerNorm": "norm.",
        "cls.predictions": "",
        "cls.predictions.decoder": "",
        "lm_head.dense": "transform.",
        "lm_head.layer_norm": "norm.",
        "lm_head": "",
        "lm_head.decoder": "",
        "generator_predictions.dense": "transform.",
        "generator_predictions.LayerNorm": "norm.",
        "generator_lm_head": "",
        "vocab_transform": "transform.",
        "vocab_layer_norm": "norm.",
        "vocab_projector": "",
    }
)
HEAD_WEIGHTS = frozenset({"transform.weight", "transform.bias", "norm.weight", "norm.bias", "bias"})
OLD_LEAVES: Mapping[str, str] = MappingProxyType({"gamma": "weight", "beta": "bias"})

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Converted:
    """The arrays of a file, sorted, in Paddle's names and layout.

    Attributes:
        encoder: By the names of the encoder's state_dict.
        masked_tokens: By the names of MaskedTokenHead's state_dict; empty where the file has no such head, or one whose
            output matrix is not the word embeddings.
        left_out: The names of what belongs to other heads.
    """

    encoder: dict[str, Array]
    masked_tokens: dict[str, Array]
    left_out: list[str]

    @property
    def outline(self) -> str:
        """What was taken and what was not, as a log says it."""
        taken = f"{len(self.encoder)} arrays of the encoder taken"
        if self.masked_tokens:
            taken += ", and a head for masked tokens"
        if self.left_out:
            taken += f"; left out, as parts of heads: {listed(self.left_out)}"
        if not any(name.startswith(POOLER) for name in self.encoder):
            taken += "; there is no pooler, so that one is started anew with random weights"
        return taken


def numbers_of(config: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], float]:
    """Keyword arguments for the family's config of a folder that transformers saved, and the epsilon of its norms.

    Raises:
        InputError: the architecture is one that Paddle's layers do not compute.
    """
    numbers = common_config(config, folder)
    position = numbers.get("position_embedding_type") or "absolute"
    faults = {
        "position_embedding_type": position if position != "absolute" else None,
        "hidden_act": numbers["hidden_act"] if numbers["hidden_act"] not in ACTIVATIONS else None,
        "is_decoder": numbers.get("is_decoder") or None,
        "quantization_config": numbers.get("quantization_config"),
    }
    for key, value in faults.items():
        if value is not None:
            raise InputError(
                f"{folder / 'config.json'}: {key} = {value!r} is not computed here. Encoders can be read that have "
                f"absolute positions, hidden_act {' or '.join(ACTIVATIONS)} and weights of plain numbers."
            )
    arguments = {key: numbers[key] for key in KEYS if numbers.get(key) is not None}
    if not numbers.get("use_task_id"):
        arguments.pop("task_type_vocab_size", None)
    return arguments, float(numbers["layer_norm_eps"])


def convert(stored: Arrays, file: Path) -> Converted:
    """Sorts and renames the arrays of a file.

    Raises:
        InputError: it holds no encoder, or an array within the encoder that none of the families here has.
    """
    words = min((name for name in stored if name.endswith(WORDS)), key=len, default=None)
    if words is None:
        raise InputError(
            f"{file}: holds no {WORDS}: it is no encoder of a family that can be read. It holds {listed(stored)}."
        )
    prefix = words.removesuffix(WORDS)
    encoder: dict[str, Array] = {}
    masked_tokens: dict[str, Array] = {}
    unknown: list[str] = []
    heads: list[str] = []
    for name, value in stored.items():
        inner = name.removeprefix(prefix)
        own = _own_name(inner, LAYERS)
        if own is not None and name.startswith(prefix):
            encoder[own] = _laid_out(inner, value)
        elif name.startswith(prefix) and inner.startswith(PARTS_OF_ENCODER):
            unknown += [name] * (inner not in NO_WEIGHTS)
        else:
            heads.append(name)
    if unknown:
        raise InputError(
            f"{file}: {listed(unknown)} within the encoder: no family that can be read has that, so the model would "
            "compute something else without it."
        )
    for name in heads:
        own = _own_name(name, MASKED_TOKEN_HEADS)
        if own is not None:
            masked_tokens[own] = _laid_out(name, stored[name])
    if TOKEN_TYPES not in encoder:  # DistilBERT has none: one row that adds nothing
        encoder[TOKEN_TYPES] = np.zeros((1, encoder[WORDS].shape[-1]), np.float32)
    output = masked_tokens.pop("weight", None)  # of the file's own output matrix, where it keeps one
    tied = output is None or np.array_equal(output.T, encoder[WORDS])  # turned by _laid_out
    if not tied or set(masked_tokens) != HEAD_WEIGHTS:
        masked_tokens = {}
    left_out = [name for name in heads if not masked_tokens or _own_name(name, MASKED_TOKEN_HEADS) is None]
    return Converted(encoder, masked_tokens, left_out)


def _own_name(name: str, table: Mapping[str, str]) -> Optional[str]:
    """The name here of an array there; None where the table has no such layer."""
    layer, _, leaf = name.rpartition(".")
    leaf = OLD_LEAVES.get(leaf, leaf)
    number = re.search(r"(?<=\blayer\.)\d+", layer)
    if number is not None:
        layer = f"{layer[: number.start()]}{{}}{layer[number.end() :]}"
    if layer not in table or leaf not in ("weight", "bias"):
        return None
    own = table[layer].format(number[0] if number else "")
    return f"{own}{leaf}" if own == "" or own.endswith(".") else f"{own}.{leaf}"


def _laid_out(name: str, value: Array) -> Array:
    """In float32, and a linear layer's weight turned; an embedding's rows are rows in both."""
    turned = value if name.endswith("_embeddings.weight") else value.T  # a bias is its own
    return np.ascontiguousarray(turned, np.float32)

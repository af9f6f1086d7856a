"""A model as `transformers` opens it: PyTorch's names and layout, and a config.json; the way back of huggingface.py."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from paddle import nn
from safetensors.numpy import save_file

from ernie_tiny.batch import Array
from ernie_tiny.errors import InputError
from ernie_tiny.family_facts import MEAN, heads_of_transformers
from ernie_tiny.files import to_json
from ernie_tiny.models.families import family_of
from ernie_tiny.models.head_size import heads_of
from ernie_tiny.models.huggingface import KEYS, LAYERS
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.pooling import pooling_of

CHOICE, CLASSES, SPAN, TAGS = "MultipleChoice", "SequenceClassification", "QuestionAnswering", "TokenClassification"
POOLED = (CHOICE, CLASSES)  # heads of the pooled output; the others have no pooler in transformers
HEAD_LAYERS: Mapping[str, str] = MappingProxyType(
    {CHOICE: "classifier", CLASSES: "classifier", TAGS: "classifier", SPAN: "qa_outputs"}
)
POOLER_IN_HEAD: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {("roberta", CLASSES): ("classifier.dense", "classifier.out_proj")}  # where the pooler stands, and the head
)
THEIR_LAYERS = {own: theirs for theirs, own in LAYERS.items() if not theirs.startswith("transformer.")}


def require_class(encoder: nn.Layer, head: str, what: str) -> None:
    """Raises an InputError where no class of transformers computes what the encoder and the head do.

    Args:
        head: One of CHOICE, CLASSES, SPAN, TAGS; "" for the bare encoder.
        what: What an error calls the model.
    """
    facts = family_of(encoder).facts
    if facts.recurrent:
        raise InputError(f"{what}: transformers has no {facts.title}. Export it for Paddle Inference: --format paddle.")
    width, (heads, size) = encoder.config.hidden_size, heads_of(encoder)
    if width % size or heads * size > width:
        raise InputError(
            f"{what}: has {heads} heads of {size}, and transformers knows only heads whose size divides hidden_size "
            f"{width}, as many as fill it or fewer. Export it for Paddle Inference: --format paddle."
        )
    if head not in POOLED:
        return
    if pooling_of(encoder) == MEAN:
        raise InputError(
            f"{what}: its pooling is {MEAN}, and no class of transformers has a head of {head} over that. Train the "
            "student with pooling: cls, or write the bare encoder: leave --task out."
        )
    if facts.name == "electra":
        raise InputError(
            f"{what}: the pooler of an ELECTRA is this project's, and transformers computes its {head} otherwise. "
            "Train a student of the family ernie, bert or roberta, or write the bare encoder: leave --task out."
        )


def save_for_transformers(
    model: MultiTaskModel, folder: Path, special_ids: Mapping[str, int], task: str = "", head: str = "",
    names: Sequence[str] = (),
) -> None:  # fmt: skip
    """Writes config.json and model.safetensors of the encoder with one of its heads, or of the encoder alone.

    Args:
        special_ids: Keys of config.json such as pad_token_id, from the tokenizer.
        task: Whose head; "" for the bare encoder.
        head: One of CHOICE, CLASSES, SPAN, TAGS; "" for the bare encoder.
        names: Of the head's outputs, in their order.
    Raises:
        InputError: as of require_class.
    """
    require_class(model.encoder, head, task or "the encoder")
    numeric = head == CLASSES and not model.head_specs[task].labels  # regression
    config = model.encoder.config
    family = family_of(model.encoder).facts.name
    numbers = {key: getattr(config, key) for key in KEYS if getattr(config, key, None) is not None}
    heads, size = heads_of(model.encoder)
    if numbers.pop("head_size", None) is not None and heads * size < config.hidden_size:
        numbers.update(heads_of_transformers(model.num_layers, config.hidden_size, heads, size))
    classes = {"id2label": dict(enumerate(names)), "label2id": {name: place for place, name in enumerate(names)}}
    content: dict[str, Any] = {
        "architectures": [f"{family.capitalize()}{'For' * bool(head)}{head or 'Model'}"],
        "model_type": family,
        **numbers,
        **special_ids,
        "layer_norm_eps": _norm_epsilon(model.encoder),
        **(classes if head in (CLASSES, TAGS) and not numeric else {"num_labels": 1} if numeric else {}),
        **({"problem_type": "regression" if numeric else "single_label_classification"} if head == CLASSES else {}),
        "torch_dtype": "float32",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(to_json(content, indent=2), encoding="utf-8")
    save_file(_arrays(model, family, task, head), str(folder / "model.safetensors"), metadata={"format": "pt"})


def _arrays(model: MultiTaskModel, family: str, task: str, head: str) -> dict[str, Array]:
    prefix = f"{family}." if head else ""
    pooler, own_head = POOLER_IN_HEAD.get((family, head), (f"{prefix}pooler.dense", HEAD_LAYERS.get(head, "")))
    found: dict[str, Array] = {}
    for name, value in model.encoder.state_dict().items():
        layer, _, leaf = name.rpartition(".")
        if layer == "pooler.dense":
            if head in ("", *POOLED):
                found[f"{pooler}.{leaf}"] = _turned(layer, value.numpy())
        else:
            found[f"{prefix}{_their_layer(layer)}.{leaf}"] = _turned(layer, value.numpy())
    for leaf in ("weight", "bias") if head else ():
        found[f"{own_head}.{leaf}"] = _turned(own_head, getattr(model.heads[task].dense, leaf).numpy())
    return found


def _their_layer(layer: str) -> str:
    number = re.search(r"(?<=\blayers\.)\d+", layer)
    if number is None:
        return THEIR_LAYERS[layer]
    return THEIR_LAYERS[f"{layer[: number.start()]}{{}}{layer[number.end() :]}"].format(number[0])


def _turned(layer: str, value: Array) -> Array:
    """In PyTorch's layout: a linear layer's weight turned, an embedding's rows as they are."""
    return np.ascontiguousarray(value if layer.endswith("_embeddings") else value.T, np.float32)


def _norm_epsilon(encoder: nn.Layer) -> float:
    """Of the encoder's layer norms, which have one."""
    (epsilon,) = {part._epsilon for part in encoder.sublayers() if isinstance(part, nn.LayerNorm)}
    return float(epsilon)

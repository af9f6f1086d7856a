"""Encoders of PaddleNLP by name, by folder or by shape, and changes of their stack of layers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddle import nn
from paddlenlp import transformers
from safetensors import safe_open

from ernie_tiny.errors import InputError

FAMILIES = {"ernie": "Ernie", "bert": "Bert", "roberta": "Roberta"}
INITIALIZER_RANGE = 0.02
LOADING_ERRORS = (  # what PaddleNLP lets through of a missing network, a damaged file or a wrong config
    *(OSError, EOFError, RuntimeError, AssertionError),
    *(ValueError, TypeError, AttributeError, KeyError),
)


def build_encoder(family: str, shape: Mapping[str, Any]) -> nn.Layer:
    """An encoder with random weights, drawn from paddle's global generator.

    Args:
        family: A key of FAMILIES.
        shape: Keyword arguments of PaddleNLP's configuration: num_hidden_layers, hidden_size, vocab_size, ...
            A task_type_vocab_size of 0 leaves the task-type embedding out.
    """
    prefix = FAMILIES[family]
    arguments = dict(shape)
    if family == "ernie":
        arguments["use_task_id"] = bool(arguments.get("task_type_vocab_size"))
    else:
        arguments.pop("task_type_vocab_size", None)
    config = getattr(transformers, f"{prefix}Config")(**arguments, initializer_range=INITIALIZER_RANGE)
    return getattr(transformers, f"{prefix}Model")(config)


def load_encoder(pretrained: str, **changes: float) -> nn.Layer:
    """A pretrained encoder by PaddleNLP name (downloaded once) or from a local folder.

    Args:
        changes: Values of its configuration that do not change its shape: the dropout probabilities.
    Raises:
        InputError: nothing of that name can be had, or the weights do not fit the folder's config.json.
    """
    folder = Path(pretrained)
    if folder.is_dir():
        _check_folder(folder)
    try:
        encoder = transformers.AutoModel.from_pretrained(pretrained, **changes)
    except LOADING_ERRORS as error:
        raise InputError(
            f"{pretrained}: cannot be loaded as a pretrained model ({_first_line(error)}). Give the name of a "
            "PaddleNLP model, with a network the first time, or a folder with config.json and "
            "model_state.pdparams or model.safetensors; a downloaded folder can be copied to a machine "
            "without a network."
        ) from error
    if not hasattr(getattr(encoder, "encoder", None), "layers"):
        raise InputError(
            f"{pretrained}: {type(encoder).__name__} is not built on paddle.nn.TransformerEncoder, so its "
            f"signals cannot be read. Families that can: {', '.join(FAMILIES)}."
        )
    if folder.is_dir():
        _check_complete(encoder, folder / "model.safetensors")
    return encoder


def _check_folder(folder: Path) -> None:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise InputError(f"{folder}: holds no config.json, so it is no pretrained model's folder.")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{config_file}: not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"{config_file}: holds no mapping of names to values.")
    weights = ("model_state.pdparams", "model.safetensors")
    if not any((folder / name).is_file() for name in weights):
        raise InputError(f"{folder}: holds neither {' nor '.join(weights)}.")


def _check_complete(encoder: nn.Layer, weights: Path) -> None:
    """PaddleNLP gives random weights to layers that a file lacks, and only warns."""
    if not weights.is_file():
        return
    with safe_open(str(weights), framework="np") as file:
        if (file.metadata() or {}).get("format") == "pt":  # PyTorch's names, which PaddleNLP translates
            return
        stored = list(file.keys())
    prefix = f"{encoder.base_model_prefix}."  # of an encoder that was saved under a head
    known = {name[len(prefix) :] if name.startswith(prefix) else name for name in stored}
    missing = [name for name in encoder.encoder.state_dict() if f"encoder.{name}" not in known]
    if missing:
        raise InputError(
            f"{weights}: holds no encoder.{missing[0]}, which config.json asks for (num_hidden_layers = "
            f"{encoder.config.num_hidden_layers}). Copy both files from one model."
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def count_parameters(layer: nn.Layer) -> int:
    """Number of weights, shared ones once."""
    unique = {id(parameter): parameter for parameter in layer.parameters()}
    return sum(int(parameter.size) for parameter in unique.values())


def count_embedding_parameters(encoder: nn.Layer) -> int:
    """Number of weights in the embeddings, their LayerNorm included."""
    return count_parameters(encoder.embeddings)


def append_layers(encoder: nn.Layer, count: int) -> None:
    """Puts `count` new layers of random weights on top of the encoder, in place."""
    layers = encoder.encoder.layers
    for _ in range(count):
        layer = type(layers[0])(**layers[0]._config)
        layer.apply(encoder._init_weights)
        layers.append(layer)
    encoder.encoder.num_layers = len(layers)


def drop_layers(encoder: nn.Layer, count: int) -> None:
    """Takes the top `count` layers off the encoder, in place."""
    kept = list(encoder.encoder.layers)[: len(encoder.encoder.layers) - count]
    encoder.encoder.layers = nn.LayerList(kept)
    encoder.encoder.num_layers = len(kept)


def copy_layers(source: nn.Layer, target: nn.Layer, layers: Sequence[int]) -> None:
    """Gives the target the source's embeddings and, layer by layer from the bottom, its chosen layers.

    Raises:
        InputError: widths differ, or a layer does not exist.
    """
    if source.config.hidden_size != target.config.hidden_size:
        raise InputError(
            f"init_from: widths differ ({source.config.hidden_size} and {target.config.hidden_size}); layers can "
            "only be copied between models of one hidden_size."
        )
    own, others = target.encoder.layers, source.encoder.layers
    if len(layers) > len(own) or not all(0 <= index < len(others) for index in layers):
        raise InputError(
            f"init_layers = {list(layers)}: the source has the layers 0 to {len(others) - 1}, "
            f"the model has room for {len(own)}."
        )
    _copy_weights(source.embeddings, target.embeddings, "embeddings")
    for position, index in enumerate(layers):
        _copy_weights(others[index], own[position], f"layer {index}")
    if hasattr(source, "pooler") and hasattr(target, "pooler"):
        _copy_weights(source.pooler, target.pooler, "pooler")


def _copy_weights(source: nn.Layer, target: nn.Layer, what: str) -> None:
    weights, expected = source.state_dict(), target.state_dict()
    for name, value in expected.items():
        if name not in weights or list(weights[name].shape) != list(value.shape):
            found = list(weights[name].shape) if name in weights else "nothing"
            raise InputError(f"init_from: {what}.{name} is {found} there and {list(value.shape)} here.")
    target.set_state_dict({name: weights[name] for name in expected})

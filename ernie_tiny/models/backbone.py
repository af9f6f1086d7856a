"""Encoders of PaddleNLP by name, by folder or by shape, and changes of their stack of layers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from paddle import nn
from paddlenlp import transformers
from paddlenlp.utils.download import resolve_file_path

from ernie_tiny.errors import InputError
from ernie_tiny.family_facts import FACTS, facts_of_folder
from ernie_tiny.models.bilstm import BiLstmConfig, BiLstmModel
from ernie_tiny.models.weights import WEIGHTS_FILES, read_weights

FAMILIES = {"ernie": "Ernie", "bert": "Bert", "roberta": "Roberta"}
INITIALIZER_RANGE = 0.02
NAMES_SHOWN = 3
LOADING_ERRORS = (  # what PaddleNLP lets through of a missing network, a damaged file or a wrong config
    *(OSError, EOFError, RuntimeError, AssertionError),
    *(ValueError, TypeError, AttributeError, KeyError),
)


def build_encoder(family: str, shape: Mapping[str, Any]) -> nn.Layer:
    """An encoder with random weights, drawn from paddle's global generator.

    Args:
        family: A key of FAMILIES, or "bilstm".
        shape: Keyword arguments of PaddleNLP's configuration: num_hidden_layers, hidden_size, vocab_size, ...
            A task_type_vocab_size of 0 leaves the task-type embedding out. For a BiLSTM those of BiLstmConfig.
    """
    if family == BiLstmConfig.model_type:
        return BiLstmModel(BiLstmConfig(**shape, initializer_range=INITIALIZER_RANGE))
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
    try:
        file = _weights_file(pretrained)
        weights = read_weights(file)
        # With the arrays given, PaddleNLP opens no file of weights, which it would unpickle; a shape that differs is
        # left to the check below, which says more.
        encoder = _reader(pretrained).from_pretrained(
            pretrained, state_dict=dict(weights), ignore_mismatched_sizes=True, **changes
        )
    except LOADING_ERRORS as error:
        raise InputError(
            f"{pretrained}: cannot be loaded as a pretrained model ({_first_line(error)}). Give the name of a "
            "PaddleNLP model, with a network the first time, or a folder with config.json and "
            f"{' or '.join(WEIGHTS_FILES)}; a downloaded folder can be copied to a machine without a network."
        ) from error
    facts_of_folder(encoder.config.to_dict(), pretrained)
    _check_weights(encoder, weights, file)
    return encoder


def _weights_file(pretrained: str) -> Path:
    """The file with a model's weights: in its folder, or in PaddleNLP's cache, where it is fetched by name."""
    folder = Path(pretrained)
    if folder.is_dir():
        _check_folder(folder)
        return next(folder / name for name in WEIGHTS_FILES if (folder / name).is_file())
    published = (
        getattr(transformers, f"{prefix}PretrainedModel").pretrained_resource_files_map["model_state"]
        for prefix in FAMILIES.values()
    )
    addresses = [files[pretrained] for files in published if pretrained in files]
    found = resolve_file_path(pretrained, addresses or list(WEIGHTS_FILES))
    if found is None:
        raise OSError(f"no {' or '.join(WEIGHTS_FILES)} of that name is published")
    return Path(found)


def _reader(pretrained: str) -> Any:
    """The class that reads a model: this project's for a folder with a BiLSTM, PaddleNLP's for all else."""
    config_file = Path(pretrained) / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8")) if config_file.is_file() else {}
    return BiLstmModel if config.get("model_type") == BiLstmConfig.model_type else transformers.AutoModel


def _check_folder(folder: Path) -> None:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise InputError(f"{folder}: holds no config.json, so it is no pretrained model's folder.")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{config_file}: not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"{config_file}: holds no mapping of names to values.")
    facts_of_folder(config, folder)
    if not any((folder / name).is_file() for name in WEIGHTS_FILES):
        raise InputError(
            f"{folder}: holds neither {' nor '.join(WEIGHTS_FILES)}. Copy one of them from where config.json is from."
        )


def _check_weights(encoder: nn.Layer, weights: Mapping[str, np.ndarray], file: Path) -> None:
    """PaddleNLP gives random weights to what a file lacks, and only warns. A pooler may be lacking."""
    prefix = f"{encoder.base_model_prefix}."  # of an encoder that was saved under a head
    found = {name[len(prefix) :] if name.startswith(prefix) else name: value for name, value in weights.items()}
    expected = {name: list(value.shape) for name, value in encoder.state_dict().items()}
    missing = [name for name in expected if name not in found and not name.startswith("pooler.")]
    if len(missing) > len(expected) // 2:
        raise InputError(
            f"{file}: holds weights of another architecture: {_listed(found)}; config.json asks for "
            f"{type(encoder).__name__}: {_listed(missing)}. Copy both files from one model."
        )
    if missing:
        raise InputError(
            f"{file}: holds no {_listed(missing)}, which config.json asks for (num_hidden_layers = "
            f"{encoder.config.num_hidden_layers}). Copy both files from one model."
        )
    for name, shape in expected.items():
        if name in found and list(found[name].shape) != shape:
            raise InputError(
                f"{file}: {name} is {list(found[name].shape)} there, and {shape} by config.json (hidden_size, "
                "intermediate_size, vocab_size, ...). Copy both files from one model."
            )


def usable_positions(encoder: nn.Layer) -> Optional[int]:
    """The longest input of an encoder, in tokens; None where it has no limit."""
    config = encoder.config
    rows = config.max_position_embeddings
    return None if rows is None else rows - FACTS[config.model_type].first_position(config.pad_token_id or 0)


def _listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    rest = f" and {len(listed) - NAMES_SHOWN} more" if len(listed) > NAMES_SHOWN else ""
    return ", ".join(listed[:NAMES_SHOWN]) + rest


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


def copy_word_embeddings(source: nn.Layer, target: nn.Layer) -> None:
    """Gives the target the source's word embeddings; the two may be of different families.

    Raises:
        InputError: the widths or the numbers of tokens differ.
    """
    theirs, own = source.embeddings.word_embeddings.weight, target.embeddings.word_embeddings.weight
    if theirs.shape != own.shape:
        raise InputError(
            f"init_from: the word embeddings there are of {theirs.shape[0]} tokens and width {theirs.shape[1]}, here "
            f"of {own.shape[0]} tokens and width {own.shape[1]}. Set embedding_size to {theirs.shape[1]} and give "
            "both models one vocabulary."
        )
    own.set_value(theirs)


def _copy_weights(source: nn.Layer, target: nn.Layer, what: str) -> None:
    weights, expected = source.state_dict(), target.state_dict()
    for name, value in expected.items():
        if name not in weights or list(weights[name].shape) != list(value.shape):
            found = list(weights[name].shape) if name in weights else "nothing"
            raise InputError(f"init_from: {what}.{name} is {found} there and {list(value.shape)} here.")
    target.set_state_dict({name: weights[name] for name in expected})

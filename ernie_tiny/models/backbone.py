"""Encoders of PaddleNLP by name, by folder or by shape, and changes of their stack of layers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from paddle import nn
from paddlenlp import transformers
from paddlenlp.utils.download import resolve_file_path

from ernie_tiny.batch import Array
from ernie_tiny.errors import InputError, first_line
from ernie_tiny.family_facts import facts_of_folder
from ernie_tiny.models.families import FAMILIES, Family, family_of
from ernie_tiny.models.head_size import heads_of, set_heads
from ernie_tiny.models.hub import hub_folder, is_hub_name
from ernie_tiny.models.huggingface import convert, numbers_of
from ernie_tiny.models.weights import (
    PADDLE_FILES,
    WEIGHTS_FILES,
    has_pytorch_layout,
    listed,
    no_weights,
    read_weights,
    weights_file,
)

logger = logging.getLogger(__name__)
LOADING_ERRORS = (  # what PaddleNLP lets through of a missing network, a damaged file or a wrong config
    *(OSError, EOFError, RuntimeError, AssertionError),
    *(ValueError, TypeError, AttributeError, KeyError),
)


def build_encoder(family: str, shape: Mapping[str, Any]) -> nn.Layer:
    """An encoder of a family of FAMILIES with random weights, as of Family.build."""
    return FAMILIES[family].build(shape)


@dataclass(frozen=True)
class Pretrained:
    """What a folder or a name holds.

    Attributes:
        encoder: With the weights that it was published with.
        masked_tokens: The weights of its head for masked tokens by the names of MaskedTokenHead; empty where a folder
            of transformers has none, and for PaddleNLP's, which are loaded without theirs.
    """

    encoder: nn.Layer
    masked_tokens: Mapping[str, Array]


def load_pretrained(pretrained: str, **changes: float) -> Pretrained:
    """A pretrained encoder from a folder of PaddleNLP's or of transformers, or by name, downloaded once.

    A name is PaddleNLP's where it publishes it, and else, as owner/name, that of Hugging Face's hub.

    Args:
        changes: Values of its configuration that do not change its shape: the dropout probabilities.
    Raises:
        InputError: nothing of that name can be had, or the weights do not fit the folder's config.json.
    """
    if is_hub_name(pretrained):
        pretrained = str(hub_folder(pretrained))
    try:
        family = _family(pretrained)
        file = _weights_file(pretrained, family)
        weights = read_weights(file)
        if has_pytorch_layout(weights):
            return _from_pytorch(family, weights, file, changes)
        encoder = family.read(pretrained, weights, **changes)
    except LOADING_ERRORS as error:
        raise InputError(
            f"{pretrained}: cannot be loaded as a pretrained model ({first_line(error)}). Give the name of a "
            "PaddleNLP model, with a network the first time, or a folder with config.json and "
            f"weights ({', '.join(WEIGHTS_FILES)}); a downloaded folder can be copied to a machine without a network."
        ) from error
    _check_weights(encoder, {family.encoder_name(name): value for name, value in weights.items()}, file)
    return Pretrained(encoder, {})


def _from_pytorch(family: Family, weights: Mapping[str, Array], file: Path, changes: Mapping[str, float]) -> Pretrained:
    numbers, epsilon = numbers_of(_checked_config(file.parent), file.parent)
    found = convert(weights, file)
    encoder = family.build_from_numbers({**numbers, **changes}, epsilon)
    _check_weights(encoder, found.encoder, file)
    own = encoder.state_dict()
    unplaced = [name for name in found.encoder if name not in own]
    if unplaced:
        raise InputError(
            f"{file}: holds {listed(unplaced)}, for which there is no place by config.json (num_hidden_layers, "
            "use_task_id, ...). Copy both files from one model."
        )
    for name, value in own.items():
        if name in found.encoder:
            value.set_value(found.encoder[name])
    logger.info("%s: %s", file, found.outline)
    return Pretrained(encoder, found.masked_tokens)


def _family(pretrained: str) -> Family:
    """The family of a folder, by its config.json, or of a published name."""
    folder = Path(pretrained)
    if folder.is_dir():
        return FAMILIES[facts_of_folder(_checked_config(folder), folder).name]
    for family in FAMILIES.values():
        if pretrained in family.published:
            return family
    config = transformers.AutoConfig.from_pretrained(pretrained).to_dict()
    return FAMILIES[facts_of_folder(config, pretrained).name]


def _weights_file(pretrained: str, family: Family) -> Path:
    """The file with a model's weights: in its folder, or in PaddleNLP's cache, where it is fetched by name."""
    folder = Path(pretrained)
    if folder.is_dir():
        found = weights_file(folder)
        assert found is not None  # by _checked_config
        return found
    addresses = [family.published[pretrained]] if pretrained in family.published else list(PADDLE_FILES)
    fetched = resolve_file_path(pretrained, addresses)
    if fetched is None:
        raise OSError(f"no {' or '.join(PADDLE_FILES)} of that name is published")
    return Path(fetched)


def _checked_config(folder: Path) -> dict[str, Any]:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise InputError(f"{folder}: holds no config.json, so it is no pretrained model's folder.")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{config_file}: not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"{config_file}: holds no mapping of names to values.")
    if weights_file(folder) is None:
        raise InputError(no_weights(folder))
    return config


def _check_weights(encoder: nn.Layer, found: Mapping[str, Array], file: Path) -> None:
    """PaddleNLP gives random weights to what a file lacks, and only warns. A pooler may be lacking."""
    expected = {name: list(value.shape) for name, value in encoder.state_dict().items()}
    missing = [name for name in expected if name not in found and not name.startswith("pooler.")]
    if len(missing) > len(expected) // 2:
        raise InputError(
            f"{file}: holds weights of another architecture: {listed(found)}; config.json asks for "
            f"{type(encoder).__name__}: {listed(missing)}. Copy both files from one model."
        )
    if missing:
        raise InputError(
            f"{file}: holds no {listed(missing)}, which config.json asks for (num_hidden_layers = "
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
    rows: Optional[int] = encoder.config.max_position_embeddings
    return rows if rows is None else rows - family_of(encoder).facts.first_position(encoder.config.pad_token_id or 0)


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
        set_heads(layer.self_attn, *heads_of(encoder))
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
        InputError: widths of layers or heads differ, or a layer does not exist.
    """
    if source.config.hidden_size != target.config.hidden_size:
        raise InputError(
            f"init_from: widths differ ({source.config.hidden_size} and {target.config.hidden_size}); layers can "
            "only be copied between models of one hidden_size. Give both one, or set init_narrowed to svd or selection."
        )
    check_layers(source, target, layers)
    own, others = target.encoder.layers, source.encoder.layers
    (_, here), (_, there) = heads_of(target), heads_of(source)
    if here != there:  # weights may be of one shape, and are of other heads
        raise InputError(
            f"init_from: a head is {there} wide there and {here} here; layers are copied with their heads. Set "
            f"head_size to {there}."
        )
    _copy_weights(source.embeddings, target.embeddings, "embeddings")
    for position, index in enumerate(layers):
        _copy_weights(others[index], own[position], f"layer {index}")
    if hasattr(source, "pooler") and hasattr(target, "pooler"):
        _copy_weights(source.pooler, target.pooler, "pooler")


def check_layers(source: nn.Layer, target: nn.Layer, layers: Sequence[int]) -> None:
    """Raises an InputError where the target has no room for so many layers, or the source has not all of them."""
    room, others = len(target.encoder.layers), len(source.encoder.layers)
    if len(layers) > room or not all(0 <= index < others for index in layers):
        raise InputError(
            f"init_layers = {list(layers)}: the source has the layers 0 to {others - 1}, the model has room for {room}."
        )


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

"""A narrower encoder that starts from the weights of a wider one of its family.

A matrix R [width, narrow width] with orthonormal columns takes the wider encoder's outputs to the narrower one's:
weights that read them become R'W, weights that write them W R, biases b R. How R is found, and how the inner widths of
attention and feed-forward layers shrink, is a method:

- `selection`: evenly spaced entries of every axis are kept as they are (Weight Selection, arXiv 2311.18823, 3.2). R
  selects.
- `svd`: R is the first right singular vectors of the word embeddings, so that the new ones are a best approximation of
  theirs (Eckart and Young, 1936). Of each head the products of queries with keys and of values with the output are
  replaced by those of a smaller rank with the least error, biases included; of the feed-forward layers the neurons with
  the largest product of norms stay. Layer norms are not invariant under R: their scale becomes the diagonal of
  R' diag(scale) R. This combination is this project's own; no paper was found that defines one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Callable

import numpy as np
from paddle import nn

from ernie_tiny.batch import Array
from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import check_layers
from ernie_tiny.models.families import family_of
from ernie_tiny.models.head_size import heads_of

Weights = dict[str, Array]
TABLES = ("word", "position", "token_type", "task_type")


def narrow_layers(source: nn.Layer, target: nn.Layer, layers: Sequence[int], method: str) -> None:
    """Gives the target the source's embeddings, pooler and chosen layers, from the bottom on, narrowed.

    Rows of position and type embeddings that only one of the two has are left as they are.

    Args:
        method: "selection" or "svd".
    Raises:
        InputError: the two are of different families or vocabularies, or the target is wider in any width.
    """
    _check(source, target)
    check_layers(source, target, layers)
    words = source.embeddings.word_embeddings.weight.numpy()
    basis = BASES[method](words, target.config.hidden_size)
    own = target.embeddings.state_dict()
    for name, value in source.embeddings.state_dict().items():
        if name in own and name.removesuffix("_embeddings.weight") in TABLES:
            rows = min(len(value), len(own[name]))
            found = own[name].numpy()
            found[:rows] = value.numpy()[:rows] @ basis
            own[name].set_value(found)
    _set(target.embeddings.layer_norm, _norm(_get(source.embeddings.layer_norm), basis))
    heads = source.config.num_attention_heads, target.config.num_attention_heads
    for place, index in enumerate(layers):
        wide, narrow = source.encoder.layers[index], target.encoder.layers[place]
        sizes = narrow.linear1.weight.shape[1], narrow.self_attn.head_dim
        parts = NARROWED[method](wide, basis, heads, sizes)
        for name in ("norm1", "norm2"):
            parts[name] = _norm(_get(getattr(wide, name)), basis)
        for name, weights in parts.items():
            _set(getattr(narrow.self_attn if name.endswith("_proj") else narrow, name), weights)
    if hasattr(source, "pooler") and hasattr(target, "pooler"):
        pooler = _get(source.pooler.dense)
        _set(target.pooler.dense, {"weight": basis.T @ pooler["weight"] @ basis, "bias": pooler["bias"] @ basis})


def _check(source: nn.Layer, target: nn.Layer) -> None:
    there, here = family_of(source).facts, family_of(target).facts
    if there.name != here.name:
        raise InputError(f"init_from: is of the family {there.name}, and the model of {here.name}. Give both one.")
    words = [encoder.embeddings.word_embeddings.weight.shape[0] for encoder in (source, target)]
    if words[0] != words[1]:
        raise InputError(f"init_from: has {words[0]} tokens there and {words[1]} here. Give both one vocabulary.")
    width = source.embeddings.word_embeddings.weight.shape[1]
    if width != source.config.hidden_size:
        raise InputError(
            f"init_from: word embeddings are {width} wide there and layers {source.config.hidden_size}; weights are "
            "narrowed alone where both are of one width. Name another model."
        )
    for key in ("hidden_size", "num_attention_heads", "intermediate_size"):
        wide, narrow = getattr(source.config, key), getattr(target.config, key)
        if narrow > wide:
            raise InputError(f"init_from: {key} is {wide} there and {narrow} here; weights can be narrowed alone.")
    sizes = [heads_of(encoder)[1] for encoder in (source, target)]
    if sizes[1] > sizes[0]:
        raise InputError(
            f"init_from: a head is {sizes[0]} wide there and {sizes[1]} here; weights can be narrowed alone. Give the "
            f"model more num_attention_heads, or a head_size of {sizes[0]}."
        )


def evenly(size: int, count: int) -> Array:
    """`count` of `size` places, from the first on, at equal distances."""
    return np.arange(count) * size // count


def _selected(words: Array, width: int) -> Array:
    return np.eye(words.shape[1], dtype=words.dtype)[:, evenly(words.shape[1], width)]


def _singular(words: Array, width: int) -> Array:
    _, vectors = np.linalg.eigh(words.T.astype(np.float64) @ words)  # of rising eigenvalues
    return np.ascontiguousarray(vectors[:, ::-1][:, :width], words.dtype)


def _norm(norm: Weights, basis: Array) -> Weights:
    return {"weight": (basis**2).T @ norm["weight"], "bias": norm["bias"] @ basis}


def _by_selection(wide: nn.Layer, basis: Array, heads: tuple[int, int], sizes: tuple[int, int]) -> dict[str, Weights]:
    attention, neurons = wide.self_attn, evenly(wide.linear1.weight.shape[1], sizes[0])
    head_size = attention.head_dim
    kept = (evenly(heads[0], heads[1])[:, None] * head_size + evenly(head_size, sizes[1])).reshape(-1)
    parts = {}
    for name in ("q_proj", "k_proj", "v_proj"):
        part = _get(getattr(attention, name))
        parts[name] = {"weight": basis.T @ part["weight"][:, kept], "bias": part["bias"][kept]}
    out = _get(attention.out_proj)
    parts["out_proj"] = {"weight": out["weight"][kept] @ basis, "bias": out["bias"] @ basis}
    return {**parts, **_feed_forward(wide, basis, neurons)}


def _by_singular_directions(
    wide: nn.Layer, basis: Array, heads: tuple[int, int], sizes: tuple[int, int]
) -> dict[str, Weights]:
    """Per head, with biases as a last row: [q; bq] [k; bk]' and [v; bv] out, each of rank `sizes[1]`."""
    attention = wide.self_attn
    rows = {name: _with_bias(_get(getattr(attention, name)), basis) for name in ("q_proj", "k_proj", "v_proj")}
    out = _get(attention.out_proj)
    head_size, rank = attention.head_dim, sizes[1]
    found: dict[str, list[Array]] = {name: [] for name in (*rows, "out_proj")}
    for head in evenly(heads[0], heads[1]):
        own = slice(head * head_size, (head + 1) * head_size)
        # Logits are divided by the root of a head's width, which is another one now.
        product = rows["q_proj"][:, own] @ rows["k_proj"][:, own].T * np.sqrt(rank / head_size)
        for pair, whole in (
            (("q_proj", "k_proj"), product),
            (("v_proj", "out_proj"), rows["v_proj"][:, own] @ (out["weight"][own] @ basis)),
        ):
            left, values, right = np.linalg.svd(whole.astype(np.float64), full_matrices=False)
            root = np.sqrt(values[:rank])
            for name, vectors in zip(pair, (left[:, :rank] * root, right[:rank].T * root)):
                found[name].append(vectors.astype(np.float32))
    parts = {name: np.concatenate(pieces, axis=1) for name, pieces in found.items()}
    narrowed = {name: {"weight": parts[name][:-1], "bias": parts[name][-1]} for name in rows}
    narrowed["out_proj"] = {"weight": parts["out_proj"].T, "bias": out["bias"] @ basis}
    first, second = _get(wide.linear1)["weight"], _get(wide.linear2)["weight"]
    strength = np.linalg.norm(basis.T @ first, axis=0) * np.linalg.norm(second @ basis, axis=1)
    neurons = np.sort(np.argsort(-strength, kind="stable")[: sizes[0]])
    return {**narrowed, **_feed_forward(wide, basis, neurons)}


def _with_bias(part: Weights, basis: Array) -> Array:
    return np.concatenate([basis.T @ part["weight"], part["bias"][None]])


def _feed_forward(wide: nn.Layer, basis: Array, neurons: Array) -> dict[str, Weights]:
    first, second = _get(wide.linear1), _get(wide.linear2)
    return {
        "linear1": {"weight": basis.T @ first["weight"][:, neurons], "bias": first["bias"][neurons]},
        "linear2": {"weight": second["weight"][neurons] @ basis, "bias": second["bias"] @ basis},
    }


def _get(part: nn.Layer) -> Weights:
    return {name: value.numpy() for name, value in part.state_dict().items()}


def _set(part: nn.Layer, weights: Weights) -> None:
    for name, value in part.state_dict().items():
        value.set_value(np.ascontiguousarray(weights[name], np.float32))


BASES: Mapping[str, Callable[[Array, int], Array]] = MappingProxyType({"selection": _selected, "svd": _singular})
NARROWED: Mapping[str, Callable[[nn.Layer, Array, tuple[int, int], tuple[int, int]], dict[str, Weights]]] = (
    MappingProxyType({"selection": _by_selection, "svd": _by_singular_directions})
)

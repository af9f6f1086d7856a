"""What a model can be asked for beside its answer, and how it is collected: forward hooks, nothing patched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Optional

import paddle
from paddle import Tensor, nn

PROJECTED = {"queries": "q_proj", "keys": "k_proj", "values": "v_proj"}  # to layers of the attention


@dataclass(frozen=True)
class TokenSignal:
    """A signal of a vector a token: "embeddings", or "hidden", "queries", "keys", "values" of a layer."""

    name: str
    layer: Optional[int] = None

    def __str__(self) -> str:
        return self.name if self.layer is None else f"{self.name}-{self.layer}"

    def of(self, signals: Signals) -> Tensor:
        """The signal's value among all of a model."""
        found = getattr(signals, self.name)
        return found if self.layer is None else found[self.layer]

    def put(self, signals: Signals, value: Tensor) -> None:
        """Sets the signal's value."""
        if self.layer is None:
            setattr(signals, self.name, value)
        else:
            getattr(signals, self.name)[self.layer] = value


@dataclass(frozen=True)
class SignalRequest:
    """What to compute.

    Attributes:
        logits: The answer of the batch's head.
        embeddings: The output of the embeddings.
        hidden: Layers, counted from 0, whose output is wanted.
        projections: Layers, counted from 0, whose queries, keys and values are wanted.
    """

    logits: bool = False
    embeddings: bool = False
    hidden: frozenset[int] = frozenset()
    projections: frozenset[int] = frozenset()

    def __or__(self, other: SignalRequest) -> SignalRequest:
        return SignalRequest(
            self.logits or other.logits,
            self.embeddings or other.embeddings,
            self.hidden | other.hidden,
            self.projections | other.projections,
        )

    @property
    def last_layer(self) -> int:
        """The highest layer that is tapped, -1 for none."""
        return max(self.projections | self.hidden, default=-1)

    @property
    def token_signals(self) -> list[TokenSignal]:
        """The signals that have a vector a token, in a fixed order."""
        found = [TokenSignal("embeddings")] if self.embeddings else []
        found += [TokenSignal("hidden", layer) for layer in sorted(self.hidden)]
        return found + [TokenSignal(name, layer) for layer in sorted(self.projections) for name in PROJECTED]


@dataclass
class Signals:
    """What was asked for, and only that.

    Attributes:
        logits: [features, labels], [features, candidates], [features, outputs, length] or [masked, vocabulary]; padded
            candidates and positions stand at -10,000.
        embeddings: [rows, length, hidden_size].
        hidden: Layer to [rows, length, hidden_size], its output.
        queries, keys, values: Layer to [rows, length, heads x head size], heads side by side, before their split.
        attention_mask: int64 [rows, length], 1 for a token, 0 for padding.
    """

    attention_mask: Tensor
    logits: Any = None
    embeddings: Any = None
    hidden: dict[int, Tensor] = field(default_factory=dict)
    queries: dict[int, Tensor] = field(default_factory=dict)
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)


@contextmanager
def tap(encoder: nn.Layer, request: SignalRequest, signals: Signals) -> Iterator[None]:
    """Fills `signals` with the requested signals of every forward pass inside the block, all but the logits."""
    hooks: list[Any] = []
    try:
        for signal in request.token_signals:
            layer = _layer_of(encoder, signal)
            hooks.append(layer.register_forward_post_hook(_putting(signal, signals)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _layer_of(encoder: nn.Layer, signal: TokenSignal) -> nn.Layer:
    """The layer whose output the signal is."""
    if signal.layer is None:
        return encoder.embeddings
    layer = encoder.encoder.layers[signal.layer]
    return layer if signal.name == "hidden" else getattr(layer.self_attn, PROJECTED[signal.name])


def _putting(signal: TokenSignal, signals: Signals) -> Any:
    def hook(_layer: nn.Layer, _inputs: Any, output: Any) -> None:
        signal.put(signals, output[0] if isinstance(output, tuple) else output)

    return hook


class ProjectionsOnly(nn.Layer):
    """The end of a shortened encoder: projects queries, keys and values for their taps and returns its input."""

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        self.self_attn = layer.self_attn
        self.norm1 = layer.norm1 if layer.normalize_before else None

    def forward(self, src: Tensor, src_mask: Optional[Tensor] = None, cache: Any = None, **_: Any) -> Tensor:
        normed = src if self.norm1 is None else self.norm1(src)
        for name in PROJECTED.values():
            getattr(self.self_attn, name)(normed)
        return src


@contextmanager
def stopping_after(encoder: nn.Layer, request: SignalRequest) -> Iterator[None]:
    """Inside the block the encoder ends behind the last signal that is asked for: nothing above is computed."""
    layers, last = encoder.encoder.layers, request.last_layer
    if last in request.hidden or last < 0:
        kept = [*layers[: last + 1]]
    else:
        kept = [*layers[:last], ProjectionsOnly(layers[last])]
    with with_layers(encoder, kept):
        yield


@contextmanager
def with_layers(encoder: nn.Layer, layers: Sequence[nn.Layer]) -> Iterator[None]:
    """Inside the block the encoder has these layers in place of its own."""
    stack, own = encoder.encoder, encoder.encoder.layers
    stack.layers = nn.LayerList([*layers])
    try:
        yield
    finally:
        stack.layers = own


def to_tensor(array: Any) -> Tensor:
    """A tensor on the current device, never part of a gradient."""
    tensor = paddle.to_tensor(array)
    tensor.stop_gradient = True
    return tensor

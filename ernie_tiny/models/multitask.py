"""One encoder with a head a task, its folder on disk, and its static form for deployment."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

import numpy as np
from paddle import Tensor, nn
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ernie_tiny.batch import Array, Batch
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.kind_facts import HEADS_FILE
from ernie_tiny.models.backbone import load_pretrained
from ernie_tiny.models.cpu_layers import use_cpu_layers
from ernie_tiny.models.families import family_of, set_norm_epsilon
from ernie_tiny.models.forms import HeadSpec, read_heads
from ernie_tiny.models.heads import MaskedTokenHead, build_head
from ernie_tiny.models.pooling import encode as encode_and_pool
from ernie_tiny.models.pooling import without_what_is_not_read
from ernie_tiny.models.signals import SignalRequest, Signals, stopping_after, tap, to_tensor

HEAD_WEIGHTS_FILE = "heads.safetensors"


class MultiTaskModel(nn.Layer):
    """A shared encoder and one head a task (MT-DNN, arXiv 1901.11504)."""

    def __init__(self, encoder: nn.Layer, heads: Iterable[HeadSpec] = (), masked_tokens: bool = False) -> None:
        super().__init__()
        use_cpu_layers(encoder)
        self.encoder = encoder
        self.heads = nn.LayerDict()
        self.head_specs: dict[str, HeadSpec] = {}
        for spec in heads:
            self.add_head(spec)
        self.masked_token_head: Optional[MaskedTokenHead] = None
        if masked_tokens:
            self.add_masked_token_head()

    @property
    def _embedding(self) -> Tensor:
        return self.encoder.embeddings.word_embeddings.weight

    @property
    def num_layers(self) -> int:
        return len(self.encoder.encoder.layers)

    def add_masked_token_head(self) -> None:
        """Adds a head for masked tokens with random weights."""
        config = self.encoder.config
        activation = "gelu" if family_of(self.encoder).facts.masked_tokens_by_gelu else config.hidden_act
        self.masked_token_head = MaskedTokenHead(self._embedding, config.hidden_size, activation)
        set_norm_epsilon(self.masked_token_head, config)

    def add_head(self, spec: HeadSpec) -> None:
        """Adds a head with random weights; one of the same labels that is there already is kept.

        Raises:
            InputError: a head of that name with other labels is there.
        """
        present = self.head_specs.get(spec.task)
        if present is not None:
            if present != spec:
                raise InputError(
                    f"task {spec.task}: the model's head has the labels {list(present.labels)} ({present.outline}), "
                    f"the data {list(spec.labels)} ({spec.outline}). Labels and their order must be equal."
                )
            return
        config = self.encoder.config
        self.heads[spec.task] = build_head(spec, config.hidden_size, config.hidden_dropout_prob)
        self.head_specs[spec.task] = spec

    def forward(self, batch: Batch, request: SignalRequest) -> Signals:
        """The requested signals of one batch."""
        signals = Signals(to_tensor(batch.attention_mask))
        inputs = to_tensor(batch.input_ids), to_tensor(batch.token_type_ids)
        tapped, masked = request.last_layer == self.num_layers - 1, batch.masked_positions is not None
        whole = tapped or masked or not request.logits or self.heads[batch.task].reads_tokens
        with without_what_is_not_read(self.encoder, whole):
            sequence, pooled = self.encode(*inputs, request, signals)
        if request.logits:
            signals.logits = self.answer(batch, sequence, pooled, signals.attention_mask)
        return signals

    def encode(
        self, input_ids: Tensor, token_type_ids: Tensor, request: SignalRequest, signals: Signals
    ) -> tuple[Tensor, Tensor]:
        """What heads read: [rows, length, hidden_size] and [rows, hidden_size] by its pooling; fills `signals`.

        Where no head is asked for, the encoder ends behind the last signal, and neither is of use.
        """
        shortened = nullcontext() if request.logits else stopping_after(self.encoder, request)
        with tap(self.encoder, request, signals), shortened:
            return encode_and_pool(self.encoder, input_ids, token_type_ids, signals.attention_mask)

    def answer(self, batch: Batch, sequence: Tensor, pooled: Tensor, attention_mask: Tensor) -> Tensor:
        """The logits of the batch's head, from what `encode` gave."""
        if batch.masked_positions is not None:
            if self.masked_token_head is None:
                raise ValueError("the model was built without a head for masked tokens")
            return self.masked_token_head(sequence, to_tensor(batch.masked_positions), self._embedding)
        head = self.heads[batch.task]
        choice_mask = None if batch.choice_mask is None else to_tensor(batch.choice_mask)
        return head.arrange(head(sequence, pooled, attention_mask), choice_mask)


class SingleTaskModel(nn.Layer):
    """A model with one of its heads, from plain tensors to logits: what is deployed.

    Candidates have one logit a row here; HeadForm.cut puts the rows of a feature side by side.
    """

    def __init__(self, model: MultiTaskModel, task: str) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.answering = model.heads[task]

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int64 [rows, length] three times to [rows, outputs] or [rows, outputs, length]."""
        sequence, pooled = encode_and_pool(self.encoder, input_ids, token_type_ids, attention_mask)
        return self.answering(sequence, pooled, attention_mask)

    def without_what_is_not_read(self) -> AbstractContextManager[None]:
        """Inside the block the last layer computes the first token alone, where head and pooling read no other."""
        return without_what_is_not_read(self.encoder, self.answering.reads_tokens)


def save_model(model: MultiTaskModel, folder: Path) -> None:
    """Writes the encoder as a plain PaddleNLP folder (readable by from_pretrained) and the heads beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.encoder.config.num_hidden_layers = model.num_layers
    model.encoder.save_pretrained(str(folder), safe_serialization=True)
    weights = {f"heads.{name}": value.numpy() for name, value in model.heads.state_dict().items()}
    if model.masked_token_head is not None:
        for name, value in model.masked_token_head.state_dict().items():
            weights[f"masked_token_head.{name}"] = value.numpy()
    save_file({name: np.ascontiguousarray(value) for name, value in weights.items()}, folder / HEAD_WEIGHTS_FILE)
    specs: list[dict[str, Any]] = [asdict(spec) for spec in model.head_specs.values()]
    content = {"heads": specs, "masked_tokens": model.masked_token_head is not None}
    (folder / HEADS_FILE).write_text(to_json(content, indent=1), encoding="utf-8")


def load_model(pretrained: str, **changes: float) -> MultiTaskModel:
    """The model of a folder that save_model wrote, or any pretrained encoder, by name or folder.

    Of another project's folder a head for masked tokens is taken along where load_pretrained finds one. `changes` are
    those of load_pretrained.

    Raises:
        InputError: those of load_pretrained, or the heads' files are damaged or do not fit each other.
    """
    found = load_pretrained(pretrained, **changes)
    encoder, specs_file = found.encoder, Path(pretrained) / HEADS_FILE
    if not specs_file.is_file():
        model = MultiTaskModel(encoder, masked_tokens=bool(found.masked_tokens))
        theirs = {f"masked_token_head.{name}": value for name, value in found.masked_tokens.items()}
        _set_weights(model.masked_token_head, "masked_token_head.", theirs, pretrained)
        return model
    try:
        model = MultiTaskModel(encoder, *read_heads(specs_file))
        weights = load_file(specs_file.parent / HEAD_WEIGHTS_FILE)
    except (OSError, ValueError, LookupError, TypeError, RecursionError, SafetensorError) as error:
        raise InputError(f"{pretrained}: {HEADS_FILE} or {HEAD_WEIGHTS_FILE} is damaged: {error}") from error
    _set_weights(model.heads, "heads.", weights, pretrained)
    _set_weights(model.masked_token_head, "masked_token_head.", weights, pretrained)
    return model


def _set_weights(layer: Optional[nn.Layer], prefix: str, weights: dict[str, Array], folder: str) -> None:
    if layer is None:
        return
    for name, value in layer.state_dict().items():
        found = weights.get(f"{prefix}{name}")
        if found is None or list(found.shape) != list(value.shape):
            raise InputError(
                f"{folder}: {HEAD_WEIGHTS_FILE} has {'nothing' if found is None else list(found.shape)} for "
                f"{prefix}{name}, {HEADS_FILE} needs {list(value.shape)}. Copy both files from one model."
            )
        value.set_value(found)

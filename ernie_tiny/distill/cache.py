"""A teacher's signals on disk: computed once, read for every later batch that holds the same inputs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from ernie_tiny.batch import Array, Batch
from ernie_tiny.distill.teacher import Teacher
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.models.forms import FORMS, HeadSpec
from ernie_tiny.models.pooling import pooling_of
from ernie_tiny.models.signals import SignalRequest, Signals, to_tensor

RECORD_FILE = "cache.json"
NOT_IN_WEIGHTS = (
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "pad_token_id",
)  # of a config, and no shape tells
INDEX_FILE = "index.npz"  # keys [inputs]; ends [inputs, 2] of their logits and of their tokens


def write_cache(
    folder: Path,
    teacher: Teacher,
    batches: Iterable[Batch],
    request: SignalRequest,
    precision: str,
    identity: Mapping[str, str],
    heads: Mapping[str, HeadSpec],
) -> None:
    """Writes the requested signals of every input of the batches into an empty folder, padding left out.

    Args:
        precision: "float16" or "float32", of what is stored.
        identity: What the signals of an input depend on, by name, such as fingerprints of the teacher's weights and
            tokenizer. CachedTeacher compares it.
        heads: Of the tasks of the batches, by name; read where the request has logits.
    """
    names = ["logits"] * request.logits + [str(signal) for signal in request.token_signals]
    files = {name: (folder / f"{name}.bin").open("wb") for name in names}
    keys: list[int] = []
    sizes: list[tuple[int, int]] = []  # logits and tokens of an input
    try:
        for batch in batches:
            signals = teacher(batch)
            lengths = _lengths(batch)
            answers = _answers(signals, batch, heads) if request.logits else [np.zeros(0)] * len(lengths)
            for number, key in enumerate(keys_of(batch)):
                own = lengths[number]
                if request.logits:
                    files["logits"].write(_stored(answers[number], precision))
                for signal in request.token_signals:
                    values = signal.of(signals)
                    rows = [values[row, :length].numpy() for row, length in own]
                    files[str(signal)].write(_stored(np.concatenate(rows), precision))
                keys.append(key)
                sizes.append((answers[number].size, sum(length for _, length in own)))
    finally:
        for file in files.values():
            file.close()
    np.savez(folder / INDEX_FILE, keys=np.array(keys, np.uint64), ends=np.cumsum(np.array(sizes, np.int64), axis=0))
    record = {"identity": dict(identity), "precision": precision, "signals": sorted(names)}
    (folder / RECORD_FILE).write_text(to_json(record, indent=1), encoding="utf-8")


def _stored(values: Array, precision: str) -> bytes:
    with np.errstate(over="ignore"):
        stored = values.astype(precision)
    if np.isfinite(values).all() and not np.isfinite(stored).all():
        raise InputError(
            f"cache.precision = {precision}: the teacher's signals reach {np.abs(values).max():.6g}, which it cannot "
            "hold. Set cache.precision to float32."
        )
    return stored.tobytes()


class CachedTeacher:
    """The signals of folders that write_cache wrote, for batches of the same inputs in any order and company.

    Inputs are found by a 64-bit digest of their task and tokens, so that shuffling, accumulation and the number
    of processes make no difference, and an input that changed is not found.

    Args:
        folders: Parts of one cache, one for each process that wrote it.
        heads: Of the tasks of the batches to come, by name; read where the request has logits.
    Raises:
        InputError: a part was made from something else than `identity` says, or lacks a signal of the request.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        request: SignalRequest,
        precision: str,
        identity: Mapping[str, str],
        heads: Mapping[str, HeadSpec],
    ) -> None:
        self.request, self._heads = request, heads
        self.seconds = 0.0
        self._parts = [_Part(folder, request, precision, identity) for folder in folders]
        keys = np.concatenate([part.keys for part in self._parts])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._part = np.repeat(np.arange(len(folders)), [len(part.keys) for part in self._parts])[order]
        self._number = np.concatenate([np.arange(len(part.keys)) for part in self._parts])[order]

    def __call__(self, batch: Batch) -> Signals:
        start = time.perf_counter()
        found = [self._find(key, example) for key, example in zip(keys_of(batch), batch.example_ids)]
        signals = Signals(to_tensor(batch.attention_mask))
        lengths = _lengths(batch)
        if self.request.logits:
            head = self._heads[batch.task]
            answers = [part.logits(number) for part, number in found]
            signals.logits = to_tensor(FORMS[head.form].pad(answers, batch, head.outputs))
        for signal in self.request.token_signals:
            tokens = [part.tokens(str(signal), number) for part, number in found]
            signal.put(signals, to_tensor(_padded_tokens(tokens, lengths, batch.input_ids.shape)))
        self.seconds += time.perf_counter() - start
        return signals

    def __len__(self) -> int:
        """How many inputs it holds."""
        return len(self._keys)

    def look_up(self, batches: Iterable[Batch]) -> tuple[int, int]:
        """How many inputs of the batches it does not hold, and how many they are."""
        keys = np.fromiter((key for batch in batches for key in keys_of(batch)), np.uint64)
        return len(keys) - int(np.isin(keys, self._keys).sum()), len(keys)

    def _find(self, key: int, example: str) -> tuple[_Part, int]:
        place = int(np.searchsorted(self._keys, np.uint64(key)))
        if place == len(self._keys) or int(self._keys[place]) != key:
            raise InputError(
                f"the teacher's cache holds nothing for example {example}: the data or its tokens changed since it was "
                f"written. Remove {self._parts[0].folder.parent} to compute it anew."
            )
        return self._parts[self._part[place]], int(self._number[place])


class _Part:
    """One folder of a cache, memory-mapped."""

    def __init__(self, folder: Path, request: SignalRequest, precision: str, identity: Mapping[str, str]) -> None:
        self.folder = folder
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        _check_record(folder, record, precision, identity)
        with np.load(folder / INDEX_FILE) as index:
            self.keys, self._ends = index["keys"], index["ends"]
        names = ["logits"] * request.logits + [str(signal) for signal in request.token_signals]
        missing = [name for name in names if name not in record["signals"]]
        if missing:
            raise InputError(
                f"{folder}: was written without {', '.join(missing)}, which the objective reads. Remove it to compute "
                "it anew."
            )
        self._values = {name: _mapped(folder / f"{name}.bin", precision) for name in names}

    def logits(self, number: int) -> Array:
        """All of an input's logits without padding, one after the other."""
        return self._values["logits"][self._slice(number, 0)]

    def tokens(self, name: str, number: int) -> Array:
        """[tokens, width], the sequences of an input one after the other."""
        total = int(self._ends[-1, 1])
        return self._values[name].reshape(total, -1)[self._slice(number, 1)]

    def _slice(self, number: int, column: int) -> slice:
        return slice(int(self._ends[number - 1, column]) if number else 0, int(self._ends[number, column]))


def fingerprint_of(models: Iterable[nn.Layer]) -> str:
    """A digest of what models answer by: names and values of weights, pooling, and the config's NOT_IN_WEIGHTS.

    A `norm_epsilon`, by which the norms of a model from transformers compute, stands in the place of layer_norm_eps.
    """
    digest = hashlib.sha256()
    for model in models:
        numbers = {name: getattr(model.encoder.config, name, None) for name in NOT_IN_WEIGHTS}
        numbers["layer_norm_eps"] = getattr(model.encoder.config, "norm_epsilon", numbers["layer_norm_eps"])
        digest.update(to_json({"pooling": pooling_of(model.encoder), **numbers}).encode())
        for name, value in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    return digest.hexdigest()[:16]


def recorded_identity(folder: Path) -> Mapping[str, str]:
    """The identity that a part of a cache was written with."""
    record: dict[str, Any] = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    identity: dict[str, str] = record["identity"]
    return identity


def _check_record(folder: Path, record: dict[str, Any], precision: str, identity: Mapping[str, str]) -> None:
    stored = {**record["identity"], "precision": record["precision"]}
    wanted = {**identity, "precision": precision}
    changed = [
        f"{name} ({stored.get(name)} there, {value} now)" for name, value in wanted.items() if stored.get(name) != value
    ]
    if changed:
        raise InputError(
            f"{folder}: the teacher's cache was made from something else; different: {'; '.join(changed)}. Undo the "
            "change, or remove the folder to compute it anew."
        )


def _lengths(batch: Batch) -> list[list[tuple[int, int]]]:
    """For each input its real sequences, as (row, tokens); rows that stand in for missing candidates are left out."""
    lengths = batch.attention_mask.sum(axis=1).reshape(-1, batch.num_choices)
    real = np.ones_like(lengths) if batch.choice_mask is None else batch.choice_mask
    return [
        [(feature * batch.num_choices + choice, int(lengths[feature, choice])) for choice in np.flatnonzero(mask)]
        for feature, mask in enumerate(real)
    ]


def keys_of(batch: Batch) -> Iterator[int]:
    """The digest of each input: its task, its token ids and types, padding left out."""
    for own in _lengths(batch):
        digest = hashlib.blake2b(batch.task.encode(), digest_size=8)
        for row, length in own:
            digest.update(b"/")
            digest.update(batch.input_ids[row, :length].tobytes())
            digest.update(batch.token_type_ids[row, :length].tobytes())
        yield int.from_bytes(digest.digest(), "little")


def _answers(signals: Signals, batch: Batch, heads: Mapping[str, HeadSpec]) -> list[Array]:
    """Of each input its logits without padding."""
    head = heads[batch.task]
    return FORMS[head.form].cut(signals.logits.numpy(), batch, head.outputs)


def _padded_tokens(found: list[Array], lengths: list[list[tuple[int, int]]], shape: tuple[int, ...]) -> Array:
    padded = np.zeros((*shape, found[0].shape[-1]), np.float32)
    for values, own in zip(found, lengths):
        start = 0
        for row, length in own:
            padded[row, :length] = values[start : start + length]
            start += length
    return padded


def _mapped(file: Path, precision: str) -> Array:
    return np.memmap(file, precision, "r") if file.stat().st_size else np.zeros(0, precision)

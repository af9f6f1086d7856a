"""Weights from PyTorch's pytorch_model.bin, as NumPy arrays, without torch and without running what stands in it.

The file is a ZIP archive: data.pkl is a pickle that names, beside a few functions, the archive's other members, which
hold the numbers and nothing else. As in weights.py the few names that torch.save writes stand for functions of this
file, and any other name ends the reading.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ernie_tiny.batch import Array
from ernie_tiny.errors import InputError

BFLOAT16 = "bfloat16"  # NumPy has no such numbers
STORAGES: Mapping[str, str] = MappingProxyType(
    {
        "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": BFLOAT16,
        "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
        "BoolStorage": "?",
    }
)  # fmt: skip
BROKEN_ARCHIVE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, pickle.UnpicklingError, EOFError, OSError),
    *(AttributeError, ImportError, LookupError, TypeError, ValueError, OverflowError, MemoryError, RecursionError),
)


def read_torch_pickle(file: Path) -> dict[str, Array]:
    """The arrays of a pytorch_model.bin by name; bfloat16 comes as float32.

    Raises:
        InputError: the file is cut off, older than PyTorch 1.6, or holds or would run anything but arrays.
    """
    if not zipfile.is_zipfile(file):
        _refuse(file)
    try:
        with zipfile.ZipFile(file) as archive:
            (program,) = (name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
            order = _order(archive, program.rpartition("/")[0])
            with archive.open(program) as stream:
                content = _TorchUnpickler(stream, archive, program, order, str(file)).load()
    except BROKEN_ARCHIVE as error:
        raise InputError(
            f"{file}: is cut off or no file of PyTorch's weights ({type(error).__name__}: {error}; "
            f"{file.stat().st_size:,} bytes). Copy or fetch it again and compare the size with the source's."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: holds a {type(content).__name__} where a table of names and arrays was due.")
    for name, value in content.items():
        if not isinstance(value, np.ndarray):
            raise InputError(
                f"{file}: {name!r} is a {type(value).__name__} where an array was due. Save the model's state_dict(), "
                "and nothing around it."
            )
    return dict(content)


def widened(numbers: Array) -> Array:
    """bfloat16 numbers, given as uint16, in float32, which holds each exactly: they are its upper halves."""
    return (numbers.astype(np.uint32) << 16).view(np.float32)


def _refuse(file: Path) -> None:
    with file.open("rb") as stream:
        pickled = stream.read(1) == pickle.PROTO
    if pickled:
        raise InputError(
            f"{file}: is a pickle of PyTorch before 1.6, which cannot be read without running it. Where you trust its "
            "source, write it anew with a later PyTorch: torch.save(torch.load(FILE, map_location='cpu'), FILE), or "
            "fetch the model's model.safetensors."
        )
    raise InputError(
        f"{file}: is cut off or no file of PyTorch's weights ({file.stat().st_size:,} bytes). Copy or fetch it again "
        "and compare the size with the source's."
    )


def _order(archive: zipfile.ZipFile, folder: str) -> str:
    """The order of bytes in the numbers, as NumPy has it; before PyTorch 2.1 it was that of any usual machine."""
    name = f"{folder}/byteorder"
    big = name in archive.namelist() and archive.read(name) == b"big"
    return ">" if big else "<"


@dataclass(frozen=True)
class _Storage:
    """Stands for a torch storage: flat numbers."""

    numbers: Array


class _Table(dict[str, Any]):
    """Stands for the OrderedDict of a state_dict; what hangs on it beside the arrays (_metadata) is left out."""

    def __setstate__(self, state: Any) -> None:
        pass


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Array:
    """Stands for torch._utils._rebuild_tensor_v2: a view of a storage, within its bounds."""
    if not isinstance(storage, _Storage) or min((offset, *size, *stride), default=0) < 0 or len(size) != len(stride):
        raise ValueError("an array that is no view of stored numbers")
    last = offset + sum((count - 1) * step for count, step in zip(size, stride))
    if math.prod(size) and last >= len(storage.numbers):
        raise ValueError(f"an array of {list(size)} in {len(storage.numbers)} numbers")
    if not math.prod(size):
        return np.zeros(size, storage.numbers.dtype)
    steps = [step * storage.numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage.numbers[offset:], size, steps).copy()


def _parameter(data: Array, *_: Any) -> Array:
    """Stands for torch._utils._rebuild_parameter."""
    return data


STAND_INS: Mapping[tuple[str, str], Any] = MappingProxyType(
    {
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("collections", "OrderedDict"): _Table,
        **{("torch", name): kind for name, kind in STORAGES.items()},
    }
)


class SafeUnpickler(pickle.Unpickler):
    """Takes what a pickle names from a table of stand-ins; any other name ends the reading.

    Args:
        saver: The function that writes such files, for the message.
    """

    def __init__(
        self, stream: Any, stand_ins: Mapping[tuple[str, str], Any], saver: str, place: str, encoding: str
    ) -> None:
        super().__init__(stream, encoding=encoding)
        self._stand_ins, self._saver, self._place = stand_ins, saver, place

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._stand_ins:
            raise InputError(
                f"{self._place}: is a pickle that asks for {module}.{name}, which no array needs. Loading it could run "
                "a stranger's code, so it was not loaded. Take the weights as model.safetensors, or save the "
                f"state_dict() of the model alone with {self._saver}."
            )
        return self._stand_ins[module, name]


class _TorchUnpickler(SafeUnpickler):
    def __init__(self, stream: Any, archive: zipfile.ZipFile, program: str, order: str, place: str) -> None:
        super().__init__(stream, STAND_INS, "torch.save", place, "utf-8")
        self._archive, self._folder, self._order = archive, program.rpartition("/")[0], order
        self._storages: dict[str, _Storage] = {}

    def persistent_load(self, reference: Any) -> _Storage:
        """The storage that ("storage", kind, key, device, number of elements) names."""
        _, kind, key, _, count = reference
        if kind not in STORAGES.values():
            raise ValueError(f"numbers of the kind {kind!r}")
        name = f"{self._folder}/data/{key}"
        if name not in self._storages:
            data = self._archive.read(name)
            code = self._order + ("u2" if kind == BFLOAT16 else kind)
            numbers = np.frombuffer(data, code)
            if len(numbers) < count:
                raise ValueError(f"{name} holds {len(numbers)} numbers where {count} were due")
            self._storages[name] = _Storage(widened(numbers) if kind == BFLOAT16 else numbers)
        return self._storages[name]

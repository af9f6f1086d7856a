"""Weights from files, as NumPy arrays: safetensors, or Paddle's .pdparams without running what stands in it.

PyTorch's pytorch_model.bin is read in torch_pickle.py.

A .pdparams file is a pickle: a list of instructions that may name any function of any module and call it, which
`pickle.load`, and so `paddle.load`, does. Here the few names that paddle.save writes stand for classes of this file
that can hold numbers and do nothing else, and any other name ends the reading.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional, Union

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from ernie_tiny.batch import Array
from ernie_tiny.errors import InputError
from ernie_tiny.models.torch_pickle import SafeUnpickler, read_torch_pickle, widened

INDEX = ".index.json"  # of weights in several files: which file holds which array
PADDLE_FILES = ("model.safetensors", "model_state.pdparams")
WEIGHTS_FILES = (  # the first of them that a folder holds is read
    *PADDLE_FILES,
    *(f"model.safetensors{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}"),
)
NAMES_SHOWN = 3
OF_PYTORCH = re.compile(r"(^|\.)(LayerNorm|layer\.\d+)\.")  # Paddle's names have layer_norm, and layers.0
NUMBER_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "b1")
PARAMETER_NAMES = "StructuredToParameterName@@"  # a table of names that paddle.save puts beside a layer's weights
SLICES = "UnpackBigParamInfor@@"  # protocols 2 and 3 hold at most 4 GB in a piece: paddle.save cuts up larger arrays
BROKEN_PICKLE = (
    *(pickle.UnpicklingError, EOFError, AttributeError, ImportError, LookupError, TypeError, ValueError),
    *(OverflowError, MemoryError, RecursionError),
)


def weights_file(folder: Path) -> Optional[Path]:
    """The file of a folder that its weights are read from; None where it has none."""
    return next((folder / name for name in WEIGHTS_FILES if (folder / name).is_file()), None)


def has_all_weights(folder: Path) -> bool:
    """Whether a folder holds a file of WEIGHTS_FILES and, where that is an index, all that it names."""
    file = weights_file(folder)
    if file is None or not file.name.endswith(INDEX):
        return file is not None
    try:
        return all(part.is_file() for part in _places(file).values())
    except InputError:
        return False


def no_weights(folder: Path) -> str:
    """What is said of a folder without a file of WEIGHTS_FILES."""
    return f"{folder}: holds none of {', '.join(WEIGHTS_FILES)}. Copy the weights from where config.json is from."


def read_weights(file: Path) -> dict[str, Array]:
    """The arrays of a file of WEIGHTS_FILES by name; bfloat16 comes as float32.

    Raises:
        InputError: the file is cut off, of another format, or holds or would run anything but arrays.
    """
    if file.name.endswith(INDEX):
        return _read_index(file)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    return read_torch_pickle(file) if file.suffix == ".bin" else _read_pdparams(file)


def has_pytorch_layout(names: Iterable[str]) -> bool:
    """Whether arrays are named, and so laid out, as PyTorch's models are: a linear layer's weight is [out, in]."""
    return any(OF_PYTORCH.search(name) for name in names)


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    all_names = list(names)
    rest = f" and {len(all_names) - NAMES_SHOWN} more" if len(all_names) > NAMES_SHOWN else ""
    return ", ".join(all_names[:NAMES_SHOWN]) + rest


def _read_safetensors(file: Path) -> dict[str, Array]:
    try:
        with safe_open(str(file), framework="np") as stored:
            names = list(stored.keys())
            kinds = {name: stored.get_slice(name).get_dtype() for name in names}
            found = {name: stored.get_tensor(name) for name, kind in kinds.items() if kind != "BF16"}
        for name, part in deserialize(file.read_bytes()) if "BF16" in kinds.values() else ():
            if kinds[name] == "BF16":
                found[name] = widened(np.frombuffer(part["data"], np.uint16)).reshape(part["shape"])
        return found
    except (SafetensorError, OSError, TypeError, LookupError, ValueError) as error:
        with file.open("rb") as stream:
            pickled = stream.read(1) == pickle.PROTO
        reason = "it is a pickle under another name" if pickled else str(error)
        raise InputError(
            f"{file}: is cut off or no safetensors file ({reason}; {file.stat().st_size:,} bytes). Copy or fetch it "
            "again and compare the size with the source's."
        ) from error


def _places(file: Path) -> dict[str, Path]:
    """The file of each array that an index names."""
    try:
        places = dict(json.loads(file.read_text(encoding="utf-8"))["weight_map"])
        return {name: file.parent / Path(part).name for name, part in places.items()}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: is no index of weights ({error}). Fetch it again.") from error


def _read_index(file: Path) -> dict[str, Array]:
    """The arrays of all the files that an index names."""
    places = _places(file)
    parts = sorted(set(places.values()))
    absent = [part for part in parts if not part.is_file()]
    if absent:
        raise InputError(
            f"{file}: names {len(parts)} files, and {absent[0].name} is not there. Copy it from where {file.name} is "
            "from."
        )
    found = {part: read_weights(part) for part in parts}
    lost = [name for name, place in places.items() if name not in found[place]]
    if lost:
        raise InputError(f"{file}: {places[lost[0]].name} holds no {lost[0]}. Copy all files from one model.")
    return {name: found[place][name] for name, place in places.items()}


def _read_pdparams(file: Path) -> dict[str, Array]:
    try:
        with file.open("rb") as stream:
            content = SafeUnpickler(stream, STAND_INS, "paddle.save", str(file), "latin1").load()
    except BROKEN_PICKLE as error:
        raise InputError(
            f"{file}: is cut off or no .pdparams file ({type(error).__name__}: {error}; {file.stat().st_size:,} "
            "bytes). Copy or fetch it again and compare the size with the source's."
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{file}: holds {_shown(content)} where a table of names and arrays was due. Save a model's state_dict()."
        )
    content.pop(PARAMETER_NAMES, None)
    cut = content.pop(SLICES, {})
    arrays = {name: _array(value, f"{file}: {name!r}") for name, value in content.items()}
    try:
        for name, parts in cut.items():
            joined = np.concatenate([arrays.pop(part) for part in parts["slices"]])
            arrays[name] = joined.reshape(parts["OriginShape"])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{file}: the parts of a large array do not fit ({error}). Fetch the file again.") from error
    return arrays


def _array(value: Any, place: str) -> Array:
    if isinstance(value, tuple) and len(value) == 2:  # (name, array): a tensor that was saved outside a state_dict
        value = value[1]
    if not isinstance(value, _Array) or value.numbers is None:
        raise InputError(
            f"{place} is {_shown(value)} where an array was due. Save a model's state_dict(), and nothing around it."
        )
    return value.numbers


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return "an array" if isinstance(value, _Array) else repr(value)[:80]


class _NumberType:
    """Stands for numpy.dtype: a code such as "f4" and the order of its bytes."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        if self.code not in NUMBER_TYPES or self.order not in ("<", ">", "|"):
            raise ValueError(f"numbers of type {self.order}{self.code}")
        return np.dtype(self.order + self.code)


class _Array:
    """Stands for numpy.ndarray; `numbers` are checked to be as many as the shape says."""

    numbers: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, data = state
        flat = np.frombuffer(_bytes(data, "latin1"), kind.dtype())
        self.numbers = flat.reshape(shape, order="F" if by_columns else "C")


def _new_array(*_: Any) -> _Array:
    return _Array()


def _bytes(data: Union[str, bytes], encoding: str) -> bytes:
    """Protocol 2 has no bytes: it writes them as text of Latin-1."""
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return data.encode("latin1") if isinstance(data, str) else data


STAND_INS: Mapping[tuple[str, str], Any] = MappingProxyType(
    {
        ("numpy.core.multiarray", "_reconstruct"): _new_array,
        ("numpy._core.multiarray", "_reconstruct"): _new_array,  # NumPy 2
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _NumberType,
        ("_codecs", "encode"): _bytes,
        ("collections", "OrderedDict"): dict,
        ("builtins", "tuple"): tuple,
        ("__builtin__", "tuple"): tuple,  # protocol 2
    }
)

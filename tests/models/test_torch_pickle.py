"""pytorch_model.bin without torch: archives as torch.save writes them, made here by hand."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ernie_tiny.errors import InputError
from ernie_tiny.models.torch_pickle import read_torch_pickle
from ernie_tiny.models.weights import read_weights

STORAGES = {"f8": "DoubleStorage", "f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage", "u1": "ByteStorage"}


class Stranger:
    """Unpickled, it would leave a file named `ran` in the current folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


class Tensor:
    """Pickled as torch pickles a tensor: a function, a storage outside of the pickle, offset, size and stride."""

    def __init__(self, data: bytes, storage: str, count: int, offset: int, size: tuple, stride: tuple) -> None:
        self.data, self.storage, self.count = data, storage, count
        self.view = offset, size, stride


class Saver(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, torch: types.ModuleType, utilities: types.ModuleType) -> None:
        super().__init__(stream, 2)
        self.torch, self.utilities, self.members = torch, utilities, {}

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        self.members[value.key] = value.tensor.data
        return "storage", getattr(self.torch, value.tensor.storage), value.key, "cpu", value.tensor.count

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        storage = Storage(str(len(self.members)), value)
        return self.utilities._rebuild_tensor_v2, (storage, *value.view, False, OrderedDict())


class Storage:
    def __init__(self, key: str, tensor: Tensor) -> None:
        self.key, self.tensor = key, tensor


@pytest.fixture
def save(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Writes content as torch.save does; names of torch that a pickle may hold are made up for it."""
    monkeypatch.chdir(tmp_path)
    torch, utilities = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in (*STORAGES.values(), "BFloat16Storage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utilities._rebuild_tensor_v2 = _rebuild_tensor_v2

    def write(content: Any, order: bytes = b"little") -> Path:
        stream = io.BytesIO()
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "torch", torch)
            patched.setitem(sys.modules, "torch._utils", utilities)
            saver = Saver(stream, torch, utilities)
            saver.dump(content)
        with zipfile.ZipFile("pytorch_model.bin", "w") as archive:
            archive.writestr("archive/data.pkl", stream.getvalue())
            archive.writestr("archive/byteorder", order)
            for key, data in saver.members.items():
                archive.writestr(f"archive/data/{key}", data)
        return Path("pytorch_model.bin")

    return write


def tensor(array: np.ndarray) -> Tensor:
    stride = tuple(step // array.itemsize for step in array.strides)
    kind = STORAGES[array.dtype.str[1:]]
    return Tensor(array.tobytes(), kind, array.size, 0, array.shape, stride)


@pytest.mark.parametrize("kind", STORAGES)
def test_arrays_are_read(kind: str, save) -> None:
    array = np.arange(6).astype(kind).reshape(2, 3)
    found = read_weights(save(OrderedDict(a=tensor(array), b=tensor(array[0]))))
    assert (
        np.array_equal(found["a"], array) and found["a"].dtype == array.dtype and np.array_equal(found["b"], array[0])
    )


def test_a_view_is_what_its_strides_say(save) -> None:
    data = np.arange(8, dtype="f4").tobytes()
    found = read_torch_pickle(save({"turned": Tensor(data, "FloatStorage", 8, 2, (2, 3), (1, 2))}))
    assert found["turned"].tolist() == [[2, 4, 6], [3, 5, 7]]


def test_numbers_of_another_machine_are_turned(save) -> None:
    data = np.array([1.5, -2], ">f4").tobytes()
    found = read_torch_pickle(save({"a": Tensor(data, "FloatStorage", 2, 0, (2,), (1,))}, b"big"))
    assert found["a"].tolist() == [1.5, -2]


def test_bfloat16_comes_as_float32(save) -> None:
    upper = (np.array([1.5, -0.25], "f4").view("u4") >> 16).astype("<u2")
    found = read_torch_pickle(save({"a": Tensor(upper.tobytes(), "BFloat16Storage", 2, 0, (2,), (1,))}))
    assert found["a"].tolist() == [1.5, -0.25] and found["a"].dtype == np.float32


@pytest.mark.parametrize(
    "view",
    [(0, (3, 3), (3, 1)), (6, (1,), (1,)), (0, (2,), (9,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 1), (1,))],
)
def test_no_array_reaches_out_of_its_numbers(view: tuple, save) -> None:
    with pytest.raises(InputError, match="is cut off or no file of PyTorch's weights"):
        read_torch_pickle(save({"a": Tensor(np.arange(6, dtype="f4").tobytes(), "FloatStorage", 6, *view)}))


def test_fewer_numbers_than_were_stored(save) -> None:
    with pytest.raises(InputError, match="holds 2 numbers where 6 were due"):
        read_torch_pickle(save({"a": Tensor(np.arange(2, dtype="f4").tobytes(), "FloatStorage", 6, 0, (6,), (1,))}))


@pytest.mark.parametrize(
    "wrap",
    [lambda it: it, lambda it: {"a": it}, lambda it: {it: 1}, lambda it: OrderedDict(a=[it])],
    ids=["alone", "in a table", "as a key", "in a list in a table"],
)
def test_nothing_of_a_strangers_pickle_is_run(wrap: Any, save) -> None:
    file = save(wrap(Stranger()))
    with pytest.raises(InputError, match=r"asks for posix\.system, which no array needs"):
        read_weights(file)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02ctorch\nload\n.",
        b"\x80\x02ctorch._utils\n_rebuild_from_type_v2\n.",
        b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
        b"(ios\nsystem\n.",
    ],
)
def test_no_other_function_can_be_named(program: bytes, tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(InputError, match="which no array needs"):
        read_weights(file)


@pytest.mark.parametrize("content", [3, [1], {"epoch": 3}, {"model": {"a": 1}}])
def test_what_is_no_table_of_arrays_is_refused(content: Any, save) -> None:
    with pytest.raises(InputError, match="where a table of names and arrays was due|where an array was due"):
        read_weights(save(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"a": 1}, 2), "is a pickle of PyTorch before 1.6"),
        (b"PK", "is cut off or no file of PyTorch's weights (2 bytes)"),
        (b"", "is cut off or no file of PyTorch's weights (0 bytes)"),
    ],
)
def test_what_is_no_archive_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_weights(tmp_path / "pytorch_model.bin")
    assert said in str(caught.value)

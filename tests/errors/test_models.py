"""The rows M of docs/errors.md: weights, above all those of strangers."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, Callable

import numpy as np
import paddle
import pytest
from paddlenlp import transformers
from safetensors.numpy import load_file, save_file

from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import build_encoder, copy_layers, load_pretrained
from ernie_tiny.models.narrowing import narrow_layers
from ernie_tiny.models.weights import read_weights
from tests.errors.conftest import SHAPE

SAFE, PICKLED, BIN = "model.safetensors", "model_state.pdparams", "pytorch_model.bin"
LAYER = "encoder.layer.0"


class Stranger:
    """Unpickled, it would leave a file named `ran` in the current folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


def refused(pretrained: object) -> InputError:
    with pytest.raises(InputError) as caught:
        load_pretrained(str(pretrained))
    assert not Path("ran").exists()
    return caught.value


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")


def cut_off(folder: Path, name: str) -> None:
    content = (folder / SAFE).read_bytes()
    if name == BIN:
        content = b"PK" + content
        (folder / SAFE).unlink()
    if name == PICKLED:
        content = pickle.dumps(load_file(folder / SAFE), 4)
        (folder / SAFE).unlink()
    (folder / name).write_bytes(content[:1000])


def write_pickle(folder: Path, content: Any, name: str = PICKLED) -> None:
    (folder / SAFE).unlink()
    (folder / name).write_bytes(pickle.dumps(content, 4))


def write_pytorch(folder: Path, more: dict[str, np.ndarray]) -> None:
    """The folder's weights in PyTorch's names and layout, and some more."""
    names = {
        "self_attn.q_proj": "attention.self.query",
        "self_attn.k_proj": "attention.self.key",
        "self_attn.v_proj": "attention.self.value",
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
        "encoder.layers": "encoder.layer",
        "layer_norm": "LayerNorm",
    }
    stored = dict(more)
    for name, value in load_file(folder / SAFE).items():
        for own, theirs in names.items():
            name = name.replace(own, theirs)
        stored[name] = np.ascontiguousarray(value.T) if value.ndim == 2 and "_embeddings" not in name else value
    save_file(stored, folder / SAFE, {"format": "pt"})


def write_index(folder: Path) -> None:
    (folder / SAFE).unlink()
    index = {"weight_map": {"embeddings.LayerNorm.weight": "model-00001-of-00001.safetensors"}}
    (folder / f"{SAFE}.index.json").write_text(json.dumps(index), encoding="utf-8")


def write_archive(folder: Path, program: bytes) -> None:
    (folder / SAFE).unlink()
    with zipfile.ZipFile(folder / BIN, "w") as archive:
        archive.writestr("archive/data.pkl", program)


BREAK: dict[str, Callable[[Path], object]] = {
    "M1": lambda folder: (folder / "config.json").unlink(),
    "M2": lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"),
    "M3": lambda folder: (folder / SAFE).unlink(),
    "M4": lambda folder: cut_off(folder, SAFE),
    "M5": lambda folder: cut_off(folder, PICKLED),
    "M6": lambda folder: write_pickle(folder, {"a": Stranger()}),
    "M7": lambda folder: write_pickle(folder, {"epoch": 3}),
    "M8": lambda folder: write_pickle(folder, {"a": Stranger()}, SAFE),
    "M9": lambda folder: write_pytorch(folder, {f"{LAYER}.attention.self.query.lora_A.weight": np.ones((2, 2), "f4")}),
    "M10": lambda folder: change_config(folder, hidden_size=32),
    "M11": lambda folder: change_config(folder, num_hidden_layers=2),
    "M12": lambda folder: save_file({"gpt.a": np.ones(1), "gpt.b": np.ones(1)}, folder / SAFE),
    "M23": lambda folder: write_index(folder),
    "M24": lambda folder: write_pickle(folder, {"a": 1}, BIN),
    "M25": lambda folder: write_archive(folder, pickle.dumps({"a": Stranger()}, 2)),
    "M26": lambda folder: cut_off(folder, BIN),
    "M27": lambda folder: (write_pytorch(folder, {}), change_config(folder, position_embedding_type="relative_key")),
    "M28": lambda folder: (write_pytorch(folder, {}), change_config(folder, num_hidden_layers=0)),
}


@pytest.mark.parametrize("row", BREAK)
def test_a_folder(row: str, folder: Path, says) -> None:
    BREAK[row](folder)
    message = refused(folder)
    assert str(message).startswith(str(folder))
    says(row, message)


def test_an_encoder_of_another_build(folder: Path, says) -> None:
    shape = {name: SHAPE[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")}
    network = transformers.GPTModel(transformers.GPTConfig(**shape, intermediate_size=32))
    network.save_pretrained(str(folder), safe_serialization=True)
    says("M13", refused(folder))


# ---- pickles


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "wrap",
    [lambda it: it, lambda it: {"a": it}, lambda it: {"a": [it]}, lambda it: {it: 1}],
    ids=["alone", "in a table", "in a list in a table", "as a key"],
)
def test_nothing_of_a_strangers_pickle_is_run(wrap: Callable, protocol: int, folder: Path) -> None:
    (folder / PICKLED).write_bytes(pickle.dumps(wrap(Stranger()), protocol))
    with pytest.raises(InputError, match=r"asks for posix\.system"):
        read_weights(folder / PICKLED)
    assert not Path("ran").exists()


def test_what_follows_the_first_pickle_is_not_read(folder: Path) -> None:
    (folder / PICKLED).write_bytes(pickle.dumps({"a": np.ones(2)}, 4) + pickle.dumps(Stranger()))
    assert list(read_weights(folder / PICKLED)) == ["a"]
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (b"\x80\x04cnumpy\nload\n(X\x01\x00\x00\x00atR.", r"asks for numpy\.load, which no array needs"),
        (b"\x80\x04cnumpy.core.multiarray\nfromfile\n.", r"asks for numpy\.core\.multiarray\.fromfile, which"),
        (b"\x80\x04cbuiltins\neval\n(X\x01\x00\x00\x001tR.", r"asks for builtins\.eval, which"),
        (b"(ios\nsystem\n.", r"asks for os\.system, which"),
        (b"\x80\x02\x82\x01.", "unregistered extension code 1"),
    ],
)
def test_no_other_function_can_be_named(program: bytes, said: str, folder: Path) -> None:
    (folder / PICKLED).write_bytes(program)
    with pytest.raises(InputError, match=said):
        read_weights(folder / PICKLED)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_paddle_saves_is_read(protocol: int, folder: Path) -> None:
    layer = paddle.nn.Linear(3, 4)
    values = {"float16": layer.weight.astype("float16"), "int64": paddle.arange(3), "scalar": paddle.ones([])}
    for name, content in (("layer", layer.state_dict()), ("values", values)):
        paddle.save(content, f"{name}.pdparams", protocol=protocol)
        found, expected = read_weights(Path(f"{name}.pdparams")), {k: v.numpy() for k, v in content.items()}
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[k], expected[k]) and found[k].dtype == expected[k].dtype for k in found)


def test_columns_first_and_both_orders_of_bytes_are_read(folder: Path) -> None:
    arrays = {"columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "big": np.arange(3, dtype=">f4")}
    Path("a.pdparams").write_bytes(pickle.dumps(arrays, 4))
    assert all(np.array_equal(value, arrays[name]) for name, value in read_weights(Path("a.pdparams")).items())


def test_arrays_that_paddle_cut_up_are_joined(folder: Path) -> None:
    parts = {"w@@.0": np.arange(4.0), "w@@.1": np.arange(4.0, 6.0)}
    information = {"w": {"OriginShape": (2, 3), "slices": list(parts)}}
    Path("a.pdparams").write_bytes(pickle.dumps({**parts, "UnpackBigParamInfor@@": information}, 2))
    assert np.array_equal(read_weights(Path("a.pdparams"))["w"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    "array", [np.array([Path()], object), np.array(["a"]), np.zeros(1, "f4,i4"), np.zeros(1, "M8[s]")]
)
def test_arrays_of_anything_but_numbers_are_refused(array: np.ndarray, folder: Path) -> None:
    Path("a.pdparams").write_bytes(pickle.dumps({"a": array}, 4))
    with pytest.raises(InputError, match=r"numbers of type|asks for pathlib\."):
        read_weights(Path("a.pdparams"))


def test_safetensors_are_read_where_both_are_there(folder: Path) -> None:
    expected = load_pretrained(str(folder)).encoder.state_dict()
    (folder / PICKLED).write_bytes(pickle.dumps({"a": Stranger()}))
    found = load_pretrained(str(folder)).encoder.state_dict()
    assert all(np.array_equal(found[name].numpy(), value.numpy()) for name, value in expected.items())
    assert not Path("ran").exists()


def test_an_encoder_in_a_pickle_is_read_and_not_by_paddle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle, "load", None)
    expected = load_file(folder / SAFE)
    write_pickle(folder, {f"ernie.{name}": value for name, value in expected.items()})
    found = load_pretrained(str(folder)).encoder.state_dict()
    assert all(np.array_equal(found[name].numpy(), value) for name, value in expected.items())


# ---- by name


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.getaddrinfo", _no_network)
    says("M14", refused("ernie-9.9-huge-zh"))
    says("M33", refused("owner/name"))


def _no_network(*_arguments: Any, **_options: Any) -> None:
    raise OSError("there is no network in this test")


def test_a_fetched_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says) -> None:
    monkeypatch.chdir(tmp_path)
    fetched = tmp_path / PICKLED
    fetched.write_bytes(pickle.dumps({"a": Stranger()}))
    asked = []

    def fetch(name: str, addresses: list[str]) -> str:
        asked.append((name, addresses))
        return str(fetched)

    monkeypatch.setattr("ernie_tiny.models.backbone.resolve_file_path", fetch)
    says("M22", refused("ernie-3.0-nano-zh"))
    ((name, addresses),) = asked
    assert name == "ernie-3.0-nano-zh" and addresses[0].endswith("ernie_3.0_nano_zh.pdparams")


# ---- layers


def test_layers_of_another_width(refuses) -> None:
    with refuses("M21"):
        copy_layers(build_encoder("ernie", SHAPE), build_encoder("ernie", {**SHAPE, "hidden_size": 32}), [0])
    for row, family, changes in (("M38", "bert", {}), ("M39", "ernie", {"hidden_size": 32})):
        with refuses(row):
            narrow_layers(build_encoder("ernie", SHAPE), build_encoder(family, {**SHAPE, **changes}), [0], "svd")


def test_layers_wider_than_the_word_embeddings(refuses) -> None:
    source = build_encoder("electra", {**SHAPE, "embedding_size": 8})
    with refuses("M47"):
        narrow_layers(source, build_encoder("electra", {**SHAPE, "hidden_size": 8}), [0], "svd")


def test_layers_with_heads_of_another_size(refuses) -> None:
    with refuses("M41"):
        copy_layers(build_encoder("ernie", SHAPE), build_encoder("ernie", {**SHAPE, "num_attention_heads": 4}), [0])


def test_other_heads_pruned_in_each_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = {**SHAPE, "num_hidden_layers": 2, "model_type": "bert"}
    save_file({"x": np.zeros(1, np.float32)}, SAFE)
    for gone in ({"0": [1]}, {"0": [0, 1], "1": []}, [0], {"0": 1, "1": 1}):
        Path("config.json").write_text(json.dumps({**numbers, "pruned_heads": gone}), encoding="utf-8")
        message = refused(tmp_path)
        assert "here all layers have as many heads" in str(message)
        if gone == {"0": [1]}:
            says("M42", message)

"""The rows M of docs/errors.md: weights and vocabularies, above all those of strangers."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any, Callable

import numpy as np
import paddle
import pytest
import tokenizers
from paddlenlp import transformers
from safetensors.numpy import load_file, save_file
from tokenizers.models import Unigram, WordPiece
from tokenizers.processors import TemplateProcessing

from ernie_tiny.config import load_config
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import ROW
from ernie_tiny.models.backbone import build_encoder, copy_layers, load_encoder
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel, save_model
from ernie_tiny.models.narrowing import narrow_layers
from ernie_tiny.models.weights import read_weights
from ernie_tiny.runs.preflight import check_heads, check_vocabularies
from ernie_tiny.training.workspace import Workspace

SHAPE = {
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 40,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
}
SAFE, PICKLED, BIN = "model.safetensors", "model_state.pdparams", "pytorch_model.bin"
LAYER = "encoder.layer.0"


class Stranger:
    """Unpickled, it would leave a file named `ran` in the current folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    build_encoder("ernie", SHAPE).save_pretrained(str(tmp_path / "saved"), safe_serialization=True)
    return tmp_path / "saved"


def refused(pretrained: object) -> InputError:
    with pytest.raises(InputError) as caught:
        load_encoder(str(pretrained))
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
    says(row, refused(folder))


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
    "program",
    [
        b"\x80\x04cnumpy\nload\n(X\x01\x00\x00\x00atR.",
        b"\x80\x04cnumpy.core.multiarray\nfromfile\n.",
        b"\x80\x04cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
        b"(ios\nsystem\n.",
        b"\x80\x02\x82\x01.",
    ],
)
def test_no_other_function_can_be_named(program: bytes, folder: Path) -> None:
    (folder / PICKLED).write_bytes(program)
    with pytest.raises(InputError):
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
    with pytest.raises(InputError):
        read_weights(Path("a.pdparams"))


def test_safetensors_are_read_where_both_are_there(folder: Path) -> None:
    expected = load_encoder(str(folder)).state_dict()
    (folder / PICKLED).write_bytes(pickle.dumps({"a": Stranger()}))
    found = load_encoder(str(folder)).state_dict()
    assert all(np.array_equal(found[name].numpy(), value.numpy()) for name, value in expected.items())
    assert not Path("ran").exists()


def test_an_encoder_in_a_pickle_is_read_and_not_by_paddle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle, "load", None)
    expected = load_file(folder / SAFE)
    write_pickle(folder, {f"ernie.{name}": value for name, value in expected.items()})
    found = load_encoder(str(folder)).state_dict()
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


# ---- vocabularies and labels

CONFIG = """\
name: toy
tokenizer: {vocab: VOCABULARY}
models: {teacher: {pretrained: FOLDER}}
data:
  tasks:
    mine: {kind: classification, texts: [text], labels: [a, b], max_length: 8, files: {train: [a], dev: [a]}}
stages:
  - name: first
    train: teacher
    data: {tasks: [mine]}
    objective: {hard: {}}
    optim: {max_steps: 1, batch_size: 2}
"""
TOKENS = [*SPECIAL_TOKENS, *(chr(ord("一") + number) for number in range(35))]


def run_with(folder: Path, tokens: list[str]) -> Any:
    vocabulary = folder.parent / "vocabulary"
    Tokenizer(tokens).save(vocabulary)
    text = CONFIG.replace("FOLDER", str(folder)).replace("VOCABULARY", str(vocabulary))
    (folder.parent / "run.yaml").write_text(text, encoding="utf-8")
    return load_config(folder.parent / "run.yaml", [f"output_dir={folder.parent}/run"])


def test_fewer_embeddings_than_tokens(folder: Path, says) -> None:
    run = run_with(folder, [*TOKENS, *"甲乙丙丁"])
    with pytest.raises(InputError) as caught:
        Workspace(run).model("teacher")
    says("M15", caught.value)


def test_another_vocabulary(folder: Path, says) -> None:
    run = run_with(folder, [*TOKENS[:5], "今", *TOKENS[6:]])
    Tokenizer([*TOKENS[:5], "旧", *TOKENS[6:]]).save(folder)
    with pytest.raises(InputError) as caught:
        check_vocabularies(run, load_tokenizer(folder.parent / "vocabulary"))
    says("M16", caught.value)
    shutil.copy(folder.parent / "vocabulary" / "vocab.txt", folder)
    check_vocabularies(run, load_tokenizer(folder.parent / "vocabulary"))


@pytest.mark.parametrize(("row", "text"), [("M17", "[UNK]\n[CLS]\n[SEP]\n"), ("M18", "[PAD]\t0\n今\t1\n天\t7\n")])
def test_a_broken_vocabulary(row: str, text: str, tmp_path: Path, says) -> None:
    (tmp_path / "vocab.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_tokenizer(tmp_path)
    says(row, caught.value)


def test_tokenizers_of_huggingface(tmp_path: Path, says) -> None:
    file = tmp_path / "tokenizer.json"

    def refused_tokenizer(content: object) -> InputError:
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        with pytest.raises(InputError) as caught:
            load_tokenizer(tmp_path)
        return caught.value

    plain = tokenizers.Tokenizer(WordPiece({"a": 0, "[CLS]": 1, "[SEP]": 2}, unk_token="[UNK]"))
    says("M29", refused_tokenizer(plain.to_str()))
    says("M30", refused_tokenizer({"model": {"type": "BPE", "vocab": 3}}))
    says("M32", refused_tokenizer({"a": 1}))
    pieces = [(name, 0.0) for name in SPECIAL_TOKENS]
    says("M37", refused_tokenizer(tokenizers.Tokenizer(Unigram(pieces)).to_str()))
    whole = tokenizers.Tokenizer(WordPiece({name: at for at, name in enumerate(["a", *SPECIAL_TOKENS])}))
    whole.post_processor = TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A $B [SEP]", [("[CLS]", 3), ("[SEP]", 4)])
    says("M31", refused_tokenizer(whole.to_str()))


def spm_piece(name: str) -> bytes:
    """A piece of a type of its own: unknown for <unk>, control for others."""
    inner = b"\x0a" + bytes([len(name)]) + name.encode() + b"\x18" + (b"\x02" if name == "<unk>" else b"\x03")
    return b"\x0a" + bytes([len(inner)]) + inner


@pytest.mark.parametrize(
    ("row", "content"),
    [
        ("M34", b"\x0a\xff\x01cut"),
        ("M35", b"\x0a\x09\x0a\x05<unk>\x18\x02" + b"\x12\x02\x18\x02" + b"\x1a\x00"),  # unknown piece, BPE, no rules
        # Special pieces, Unigram, rules that are none.
        ("M36", b"".join([*map(spm_piece, ("<unk>", "[CLS]", "[SEP]")), b"\x12\x00\x1a\x05\x12\x03bad"])),
    ],
)
def test_models_of_sentencepiece(row: str, content: bytes, tmp_path: Path, says) -> None:
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_tokenizer(tmp_path)
    says(row, caught.value)


def test_heads(folder: Path, says) -> None:
    model = MultiTaskModel(build_encoder("ernie", SHAPE), [HeadSpec("mine", ROW, 2, ("b", "a"))])
    save_model(model, folder)
    run = run_with(folder, TOKENS)
    with pytest.raises(InputError) as caught:
        check_heads(run)
    says("M19", caught.value)
    (folder / "heads.json").write_text('{"heads": 3}', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        check_heads(run)
    says("M20", caught.value)


def test_layers_of_another_width(says) -> None:
    with pytest.raises(InputError) as caught:
        copy_layers(build_encoder("ernie", SHAPE), build_encoder("ernie", {**SHAPE, "hidden_size": 32}), [0])
    says("M21", caught.value)
    for row, family, changes in (("M38", "bert", {}), ("M39", "ernie", {"hidden_size": 32})):
        with pytest.raises(InputError) as caught:
            narrow_layers(build_encoder("ernie", SHAPE), build_encoder(family, {**SHAPE, **changes}), [0], "svd")
        says(row, caught.value)


def test_layers_with_heads_of_another_size(says) -> None:
    with pytest.raises(InputError) as caught:
        copy_layers(build_encoder("ernie", SHAPE), build_encoder("ernie", {**SHAPE, "num_attention_heads": 4}), [0])
    says("M41", caught.value)


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

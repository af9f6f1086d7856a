"""Damaged and invented folders of Hugging Face's form: what comes out is a valid value or an InputError."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save
from tokenizers import normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from ernie_tiny.config.schema import ModelConfig
from ernie_tiny.config.shapes import planned_positions, shape_of
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import load_pretrained
from ernie_tiny.models.weights import read_weights
from tests.fuzz.test_fuzz import changed, damaged, fuzz

WIDTH = 4
CONFIG = {
    "model_type": "bert", "num_hidden_layers": 1, "hidden_size": WIDTH, "num_attention_heads": 2, "vocab_size": 6,
    "intermediate_size": WIDTH, "max_position_embeddings": 8, "type_vocab_size": 2, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "pad_token_id": 0, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
}  # fmt: skip
DENSE = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
LAYER = "encoder.layer.0"


def arrays() -> dict[str, np.ndarray]:
    rows = {"word": 6, "position": 8, "token_type": 2}
    found = {
        f"embeddings.{name}_embeddings.weight": np.ones((count, WIDTH), np.float32) for name, count in rows.items()
    }
    for name in (*(f"{LAYER}.{part}" for part in (*DENSE, "intermediate.dense", "output.dense")), "pooler.dense"):
        found |= {f"{name}.weight": np.ones((WIDTH, WIDTH), np.float32), f"{name}.bias": np.ones(WIDTH, np.float32)}
    for name in ("embeddings.LayerNorm", f"{LAYER}.attention.output.LayerNorm", f"{LAYER}.output.LayerNorm"):
        found |= {f"{name}.weight": np.ones(WIDTH, np.float32), f"{name}.bias": np.ones(WIDTH, np.float32)}
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pretrained")
    (place / "model.safetensors").write_bytes(save(arrays()))
    return place


def check(config: Any, folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model = ModelConfig(pretrained=str(folder))
    with suppress(InputError, ValueError, TypeError):  # which the check of a config names its key with
        shape_of(model)
        planned_positions(model, 0)
    with suppress(InputError):
        load_pretrained(str(folder))


@fuzz
@given(data=st.data())
def test_configs(folder: Path, data: st.DataObject) -> None:
    check(changed(data.draw, CONFIG), folder)


@fuzz
@given(name=st.sampled_from(sorted(arrays())), shape=st.lists(st.integers(0, 5), max_size=3), new=st.text(max_size=9))
def test_arrays_of_other_shapes_and_names(folder: Path, name: str, shape: list[int], new: str) -> None:
    stored = {**arrays(), name: np.ones(shape, np.float32), f"{name}{new}": np.ones(2, np.float32)}
    place = folder / "other"
    place.mkdir(exist_ok=True)
    (place / "model.safetensors").write_bytes(save(stored))
    check(CONFIG, place)


@fuzz
@given(data=st.data())
def test_indices(folder: Path, data: st.DataObject) -> None:
    file = folder / "model.safetensors.index.json"
    index = {"weight_map": dict.fromkeys(arrays(), "model.safetensors"), "metadata": {"total_size": 3}}
    file.write_text(json.dumps(changed(data.draw, index)), encoding="utf-8")
    with suppress(InputError):
        read_weights(file)


PROGRAM = (
    b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storageq\x03"
    b"ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpuq\x06K\x06tq\x07QK\x00K\x02K\x03\x86q\x08"
    b"K\x03K\x01\x86q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rs."
)


def archive(file: Path, program: bytes, data: bytes) -> None:
    with zipfile.ZipFile(file, "w") as content:
        content.writestr("archive/data.pkl", program)
        content.writestr("archive/data/0", data)


def test_the_program_that_is_damaged_below_is_good(tmp_path: Path) -> None:
    archive(tmp_path / "a.bin", PROGRAM, np.arange(6, dtype="<f4").tobytes())
    assert read_weights(tmp_path / "a.bin")["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


@fuzz
@given(data=st.data(), whole=st.booleans())
def test_archives_of_pytorch(folder: Path, data: st.DataObject, whole: bool) -> None:
    file = folder / "pytorch_model.bin"
    archive(file, PROGRAM if whole else data.draw(damaged(PROGRAM)), data.draw(st.binary(max_size=40)))
    if whole:
        file.write_bytes(data.draw(damaged(file.read_bytes())))
    with suppress(InputError):
        assert all(isinstance(value, np.ndarray) for value in read_weights(file).values())


@pytest.fixture(scope="module")
def described() -> Any:
    vocabulary = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -1.0),
        ("今", -2.0),
        ("<mask>", 0.0),
    ]
    backend = tokenizers.Tokenizer(Unigram(vocabulary, unk_id=3))
    backend.normalizer, backend.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return json.loads(backend.to_str())


@fuzz
@given(data=st.data(), whole=st.booleans())
def test_tokenizers(folder: Path, described: Any, data: st.DataObject, whole: bool) -> None:
    place = folder / "tokenizer"
    place.mkdir(exist_ok=True)
    text = json.dumps(described if whole else changed(data.draw, described)).encode()
    (place / "tokenizer.json").write_bytes(data.draw(damaged(text)) if whole else text)
    with suppress(InputError):
        load_tokenizer(place).encode("今天 <mask> 好")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("pieces")
    (place / "text").write_text("今天天气很好\n我们去公园看花\n" * 20, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(place / "text"), model_prefix=str(place / "a"), vocab_size=20, hard_vocab_limit=False, minloglevel=2,
        normalization_rule_name="identity",
    )  # fmt: skip
    return (place / "a.model").read_bytes()


@fuzz
@given(data=st.data())
def test_models_of_sentencepiece(folder: Path, pieces: bytes, data: st.DataObject) -> None:
    place = folder / "pieces"
    place.mkdir(exist_ok=True)
    (place / "sentencepiece.bpe.model").write_bytes(data.draw(damaged(pieces)))
    with suppress(InputError):
        load_tokenizer(place).encode("今天 <mask> 好")

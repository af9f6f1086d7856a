"""The rows M of docs/errors.md: vocabularies, tokenizers and the labels of heads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import tokenizers
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.processors import TemplateProcessing

from ernie_tiny.config import load_config
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import ROW
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel, load_model, save_model
from ernie_tiny.runs.preflight import check_heads, check_vocabularies
from ernie_tiny.training.workspace import Workspace
from tests.errors.conftest import SHAPE

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


def run_with(folder: Path, tokens: list[str], *overrides: str) -> Any:
    vocabulary = folder.parent / "vocabulary"
    Tokenizer(tokens).save(vocabulary)
    text = CONFIG.replace("FOLDER", str(folder)).replace("VOCABULARY", str(vocabulary))
    (folder.parent / "run.yaml").write_text(text, encoding="utf-8")
    return load_config(folder.parent / "run.yaml", [f"output_dir={folder.parent}/run", *overrides])


def test_fewer_embeddings_than_tokens(folder: Path, refuses) -> None:
    run = run_with(folder, [*TOKENS, *"甲乙丙丁"])
    with refuses("M15"):
        Workspace(run).model("teacher")


def test_another_vocabulary(folder: Path, refuses) -> None:
    run = run_with(folder, [*TOKENS[:5], "今", *TOKENS[6:]])
    Tokenizer([*TOKENS[:5], "旧", *TOKENS[6:]]).save(folder)
    with refuses("M16"):
        check_vocabularies(run, load_tokenizer(folder.parent / "vocabulary"))
    shutil.copy(folder.parent / "vocabulary" / "vocab.txt", folder)
    check_vocabularies(run, load_tokenizer(folder.parent / "vocabulary"))


@pytest.fixture(params=["owner/name", "ernie-3.0-nano-zh"])
def name(folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A name of the hub, or of PaddleNLP's, that stands for the folder where there is no network."""

    def no_network(name: str) -> None:
        raise OSError("there is no network in this test")

    def from_pretrained(name: str) -> Any:
        if not (folder / "vocab.txt").is_file():
            no_network(name)
        return SimpleNamespace(save_pretrained=lambda target: load_tokenizer(folder).save(Path(target)))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(folder))
    monkeypatch.setattr(huggingface_hub, "list_repo_files", no_network)
    monkeypatch.setattr("paddlenlp.transformers.AutoTokenizer.from_pretrained", from_pretrained)
    if "/" not in request.param:
        monkeypatch.setattr("ernie_tiny.training.workspace.load_model", lambda name, **_: load_model(str(folder)))
    return str(request.param)


def test_another_vocabulary_of_a_model_by_name(folder: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    tokens = [*TOKENS[:5], "今", *TOKENS[6:]]
    run = run_with(folder, tokens, f"models.teacher.pretrained={name}")
    Tokenizer([*TOKENS[:5], "旧", *TOKENS[6:]]).save(folder)
    said = rf"models\.teacher\.pretrained = {name}: was trained with another .*token 5 is '旧' there and '今' here\)"
    workspace = Workspace(run)
    for _ in range(2):
        with pytest.raises(InputError, match=said):
            workspace.model("teacher")
    Tokenizer(tokens).save(folder)
    Workspace(run).model("teacher")
    assert "vocabulary" not in caplog.text


def test_a_vocabulary_by_name_that_cannot_be_had(
    folder: Path, name: str, says, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(run_with(folder, TOKENS, f"models.teacher.pretrained={name}"))
    for _ in range(2):
        workspace.model("teacher")
    says("M45", caplog.text)
    assert caplog.text.count("its vocabulary cannot be had") == 1


def test_the_same_vocabulary_under_other_rules(folder: Path, says, caplog: pytest.LogCaptureFixture) -> None:
    tokens = [*TOKENS[:-2], *"Aa"]
    run = run_with(folder, tokens)
    for lowercase, warned in ((True, False), (False, True)):
        Tokenizer(tokens, lowercase).save(folder)
        check_vocabularies(run, load_tokenizer(folder.parent / "vocabulary"))
        assert bool(caplog.text) == warned
    says("M43", caplog.text)


@pytest.mark.parametrize(("row", "text"), [("M17", "[UNK]\n[CLS]\n[SEP]\n"), ("M18", "[PAD]\t0\n今\t1\n天\t7\n")])
def test_a_broken_vocabulary(row: str, text: str, tmp_path: Path, refuses) -> None:
    (tmp_path / "vocab.txt").write_text(text, encoding="utf-8")
    with refuses(row):
        load_tokenizer(tmp_path)


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
    strict = tokenizers.Tokenizer(BPE({name: at for at, name in enumerate(SPECIAL_TOKENS)}, []))
    says("M46", refused_tokenizer(strict.to_str()))
    whole = tokenizers.Tokenizer(WordPiece({name: at for at, name in enumerate(["a", *SPECIAL_TOKENS])}))
    whole.post_processor = TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A $B [SEP]", [("[CLS]", 3), ("[SEP]", 4)])
    says("M31", refused_tokenizer(whole.to_str()))


@pytest.mark.parametrize("kind", ["vocab.txt", "tokenizer.json"])
def test_a_rule_that_is_no_truth_value(kind: str, tmp_path: Path, says) -> None:
    if kind == "vocab.txt":
        Tokenizer(TOKENS).save(tmp_path)
    else:
        whole = tokenizers.Tokenizer(WordPiece({name: at for at, name in enumerate(TOKENS)}, unk_token="[UNK]"))
        whole.normalizer = BertNormalizer()
        whole.save(str(tmp_path / kind))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": "no"}', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_tokenizer(tmp_path)
    says("M44", caught.value)


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
def test_models_of_sentencepiece(row: str, content: bytes, tmp_path: Path, refuses) -> None:
    (tmp_path / "spiece.model").write_bytes(content)
    with refuses(row):
        load_tokenizer(tmp_path)


def test_heads(folder: Path, refuses) -> None:
    model = MultiTaskModel(build_encoder("ernie", SHAPE), [HeadSpec("mine", ROW, 2, ("b", "a"))])
    save_model(model, folder)
    run = run_with(folder, TOKENS)
    with refuses("M19"):
        check_heads(run)
    (folder / "heads.json").write_text('{"heads": 3}', encoding="utf-8")
    with refuses("M20"):
        check_heads(run)

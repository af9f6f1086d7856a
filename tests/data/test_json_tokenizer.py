"""Tokenizers of Hugging Face's folders: ids, offsets, pairs and special tokens as the folder's files say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece

from ernie_tiny.data.task import Answer, Example, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, JsonTokenizer, count_tokens, load_tokenizer
from ernie_tiny.data.used_tokens import used_tokens
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.ask import featurise

XLMR = ("<s>", "<pad>", "</s>", "<unk>")
ROLES = ("CLS", "SEP", "MASK")
TEXTS = ["我今天去爬山", "①②③ ＡＢＣ", "苹果 iPhone 15", "  两个  空格 ", "😀龘", "", "</s> <mask>"]


def unigram() -> tokenizers.Tokenizer:
    """Like XLM-R's: NFKC, a mark for spaces, pieces with scores, <mask> behind them, two separators."""
    pieces = ["▁", *"我今天去爬山123ABC苹果iPhone5两个空格", "▁我", "今天", "爬山", "▁iPhone", "▁1", "苹果"]
    vocabulary = [*((token, 0.0) for token in XLMR), *((piece, -1.0 - 0.1 * n) for n, piece in enumerate(pieces))]
    found = tokenizers.Tokenizer(Unigram(list(dict(vocabulary).items()), unk_id=3))
    found.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    found.pre_tokenizer, found.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    found.add_special_tokens([AddedToken("<mask>", lstrip=True), *XLMR])
    found.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    return found


def wordpiece() -> tokenizers.Tokenizer:
    tokens = [*SPECIAL_TOKENS, *"我今天去爬山两个空格", "ab", "##c", "##ab", "a", "##b"]
    found = tokenizers.Tokenizer(WordPiece({token: at for at, token in enumerate(tokens)}, unk_token="[UNK]"))
    found.normalizer, found.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    found.decoder = decoders.WordPiece()
    found.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return found


def byte_level() -> tokenizers.Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, "ab", "Ġab", "<mask>"]
    model = BPE({token: at for at, token in enumerate(tokens)}, [("a", "b"), ("Ġ", "ab")], unk_token="<unk>")
    found = tokenizers.Tokenizer(model)
    found.pre_tokenizer, found.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    found.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    found.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return found


MADE = {"unigram": unigram, "wordpiece": wordpiece, "byte-level": byte_level}


def saved(kind: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    MADE[kind]().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(params=MADE)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_ids_and_offsets_are_the_librarys(kind: str, tmp_path: Path) -> None:
    found, library = load_tokenizer(saved(kind, tmp_path)), MADE[kind]()
    for text in TEXTS[:-1]:
        expected = library.encode(text, add_special_tokens=False)
        ids, offsets = found.encode(text)
        assert ids.tolist() == expected.ids and offsets.tolist() == [list(pair) for pair in expected.offsets]


@pytest.mark.parametrize(
    ("kind", "special", "separators", "second_type"),
    [("unigram", [*XLMR], 2, 0), ("wordpiece", [*SPECIAL_TOKENS], 1, 1), ("byte-level", [*XLMR], 2, 0)],
)
def test_special_tokens_and_pairs_are_the_folders(
    kind: str, special: list[str], separators: int, second_type: int, tmp_path: Path
) -> None:
    found = load_tokenizer(saved(kind, tmp_path))
    named = [found.tokens[index] for index in (found.pad_id, found.unk_id, found.cls_id, found.sep_id, found.mask_id)]
    expected = special if second_type else ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    assert named == expected and (found.separators, found.second_type) == (separators, second_type)
    library = MADE[kind]().encode("今天", "爬山")
    first, second = (found.encode(text)[0].tolist() for text in ("今天", "爬山"))
    ids = [found.cls_id, *first, *[found.sep_id] * separators, *second, found.sep_id]
    assert ids == library.ids
    assert [0] * (1 + len(first) + separators) + [second_type] * (len(second) + 1) == library.type_ids


def test_no_text_holds_special_tokens(tmp_path: Path) -> None:
    found = load_tokenizer(saved("unigram", tmp_path))
    for text in ("我</s>去", "我 <mask> 去", "<s> <pad>"):
        ids = set(found.encode(text)[0].tolist())
        assert not ids & {found.pad_id, found.cls_id, found.sep_id, found.mask_id}


def test_names_of_special_tokens_stand_beside(tmp_path: Path) -> None:
    found = MADE["wordpiece"]()
    text = found.to_str().replace("[PAD]", "[FILL]").replace("[MASK]", "[BLANK]")
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    names = dict(zip(("unk_token", "cls_token", "sep_token"), ("[UNK]", "[CLS]", "[SEP]")))
    more = {"pad_token": {"content": "[FILL]", "lstrip": False}, "mask_token": "[BLANK]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(more), encoding="utf-8")
    loaded = load_tokenizer(tmp_path)
    assert (loaded.pad_id, loaded.mask_id) == (0, 4)


@pytest.mark.parametrize(
    ("settings", "rules"),
    [
        ({}, {}),
        ({"do_lower_case": False}, {"lowercase": False}),
        ({"strip_accents": False}, {"strip_accents": False}),
        ({"do_lower_case": False, "strip_accents": True}, {"lowercase": False, "strip_accents": True}),
        ({"do_lower_case": False, "strip_accents": None}, {"lowercase": False, "strip_accents": None}),
        ({"tokenize_chinese_chars": False}, {"handle_chinese_chars": False}),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}, {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("own", [{}, {"lowercase": False, "strip_accents": True}], ids=["usual file", "other file"])
def test_settings_beside_make_the_normalizer_of_bert(
    own: dict[str, bool], settings: dict[str, Any], rules: dict[str, Any], tmp_path: Path
) -> None:
    library = wordpiece()
    library.normalizer = normalizers.BertNormalizer(**own)
    library.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    library.normalizer = normalizers.BertNormalizer(**{**own, **rules})
    found = load_tokenizer(tmp_path)
    for text in ("A", "à", "Á", "a今", "今天 A b"):
        assert found.encode(text)[0].tolist() == library.encode(text, add_special_tokens=False).ids, text
    found.save(tmp_path / "kept")
    assert load_tokenizer(tmp_path / "kept").fingerprint == found.fingerprint


def test_settings_beside_leave_other_normalizers_alone(tmp_path: Path) -> None:
    before = load_tokenizer(saved("unigram", tmp_path)).fingerprint
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    assert load_tokenizer(tmp_path).fingerprint == before


def test_saving_keeps_everything(kind: str, tmp_path: Path) -> None:
    found = load_tokenizer(saved(kind, tmp_path / "theirs"))
    found.save(tmp_path / "ours")
    again = load_tokenizer(tmp_path / "ours")
    assert isinstance(again, JsonTokenizer) and again.fingerprint == found.fingerprint
    for text in TEXTS:
        assert np.array_equal(again.encode(text)[0], found.encode(text)[0])


def test_the_fingerprint_sees_scores(tmp_path: Path) -> None:
    found = load_tokenizer(saved("unigram", tmp_path))
    other = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    other["model"]["vocab"][7][1] -= 0.5
    (tmp_path / "tokenizer.json").write_text(json.dumps(other), encoding="utf-8")
    assert load_tokenizer(tmp_path).fingerprint != found.fingerprint


@pytest.mark.parametrize(
    ("kind", "text", "spelled", "starts"),
    [
        ("unigram", "我今天 iPhone", " 我今天 iPhone", [0, 1, 2, 3, 5]),
        ("wordpiece", "abc 今天", "abc今天", [0, 0, 3, 4]),
        ("byte-level", "ab ab", "ab ab", [0, 3]),
    ],
)
def test_what_tokens_spell(kind: str, text: str, spelled: str, starts: list[int], tmp_path: Path) -> None:
    found = load_tokenizer(saved(kind, tmp_path))
    assert found.spell(found.encode(text)[0].tolist()) == (spelled, starts)


def test_a_smaller_vocabulary_cuts_its_texts_as_before(kind: str, tmp_path: Path) -> None:
    whole = load_tokenizer(saved(kind, tmp_path))
    ids = used_tokens(["我今天去爬山", "abab ab"], whole, 1)
    smaller = whole.keep(ids)
    assert smaller.vocab_size == len(ids) <= whole.vocab_size
    assert [smaller.tokens[index] for index in smaller.special_ids] == [whole.tokens[i] for i in whole.special_ids]
    assert (smaller.separators, smaller.second_type) == (whole.separators, whole.second_type)
    for text in ("我今天去爬山", "abab ab", "山今天", "abab"):
        before, after = whole.encode(text), smaller.encode(text)
        assert [ids[token] for token in after[0]] == before[0].tolist() and np.array_equal(before[1], after[1])


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("我今天 iPhone", ["", "我", "今", "天", "iPhone"]),
        ("  两个  空格 ", ["", "两", "个", "", "空", "格"]),
        ("①②③ ＡＢＣ", ["", "①", "②", "③", "", "Ａ", "Ｂ", "Ｃ"]),
        ("", []),
        ("   ", []),
    ],
)
def test_tokens_cover_characters_without_spaces(text: str, covered: list[str], tmp_path: Path) -> None:
    found = load_tokenizer(saved("unigram", tmp_path))
    ids, offsets = found.encode(text)
    cover = found.cover(text, ids, offsets)
    assert cover.dtype == np.int32 and cover.shape == (len(ids), 2)
    assert [text[start:end] for start, end in cover.tolist()][: len(covered)] == covered


def test_tokens_of_wordpiece_cover_what_their_offsets_say(tmp_path: Path) -> None:
    found = load_tokenizer(saved("wordpiece", tmp_path))
    ids, offsets = found.encode("今天 abc")
    assert np.array_equal(found.cover("今天 abc", ids, offsets), offsets)


# ---- what inputs are made of them


@pytest.mark.parametrize("kind", MADE)
def test_inputs_are_the_librarys_pairs(kind: str, tmp_path: Path) -> None:
    spec = TaskSpec("mine", "pair", {}, ("a", "b"), ("no", "yes"))
    texts = ("今天 abc", "爬山")
    ((ids, types),) = featurise(spec, [Example("0", texts)], load_tokenizer(saved(kind, tmp_path)), 64)[0].sequences
    library = MADE[kind]().encode(*texts)
    assert ids.tolist() == library.ids and types.tolist() == library.type_ids


def test_offsets_of_reading_hold_no_spaces(tmp_path: Path) -> None:
    spec = TaskSpec("mine", "reading", {})
    context = "苹果 iPhone 15"
    example = Example("0", ("今天", context), answers=(Answer("iPhone", 3),))
    (feature,) = featurise(spec, [example], load_tokenizer(saved("unigram", tmp_path)), 64)
    (start, _), (_, end) = (feature.offsets[place] for place in feature.label)
    assert context[start:end] == "iPhone"


FOLDER = Path(os.environ.get("ERNIE_TINY_MODELS", "")) / "e5-small-zh"
DATA = Path(os.environ.get("ERNIE_TINY_DATA", ""))


@pytest.mark.skipif(
    not {"ERNIE_TINY_MODELS", "ERNIE_TINY_DATA"} <= set(os.environ) or not FOLDER.is_dir(),
    reason="ERNIE_TINY_MODELS and ERNIE_TINY_DATA name no folders with e5-small-zh and real text",
)
def test_ids_of_20000_real_texts_are_the_librarys() -> None:
    lines = [line for file in sorted((DATA / "corpus").glob("*.txt")) for line in file.open(encoding="utf-8")]
    texts = [line.rstrip("\n") for line in lines[:: max(1, len(lines) // 20000)]][:20000]
    library = tokenizers.Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    expected = library.encode_batch(texts, add_special_tokens=False)
    found = load_tokenizer(FOLDER).encode_batch(texts)
    assert len(texts) == 20000
    for (ids, offsets), other in zip(found, expected):
        assert ids.tolist() == other.ids and offsets.tolist() == [list(pair) for pair in other.offsets]


# ---- SentencePiece's own files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Unigram model with the normalisation that XLM-R has."""
    folder = tmp_path_factory.mktemp("spm")
    lines = ["我今天想去爬山", "今天天气真好", "苹果公司发布新款手机", "两个空格 iPhone 15", "ＡＢＣ①②③ abc 123"] * 40
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "spm"), vocab_size=45, model_type="unigram",
        normalization_rule_name="nmt_nfkc", character_coverage=1.0, minloglevel=2,
    )  # fmt: skip
    return folder / "spm.model"


def test_ids_of_a_sentencepiece_model_are_fairseqs(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "sentencepiece.bpe.model").write_bytes(trained.read_bytes())
    found, theirs = load_tokenizer(tmp_path), sentencepiece.SentencePieceProcessor(model_file=str(trained))
    assert [found.tokens[index] for index in found.special_ids] == ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    assert found.special_ids == [1, 3, 0, 2, theirs.get_piece_size() + 1] and (found.separators, found.second_type) == (
        2, 0,
    )  # fmt: skip
    for text in TEXTS[:-1]:
        expected = [index + 1 if index else 3 for index in theirs.encode(text)]
        ids = found.encode(text)[0].tolist()
        assert [token for token in ids if token != 3] == [token for token in expected if token != 3], text
    assert load_tokenizer(tmp_path).vocab_size == count_tokens(tmp_path) == theirs.get_piece_size() + 2


def test_a_damaged_sentencepiece_model(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"\x07\x99nothing")
    with pytest.raises(InputError, match="is cut off or no model of SentencePiece"):
        load_tokenizer(tmp_path)


def test_damaged_rules_of_a_sentencepiece_model(tmp_path: Path) -> None:
    piece, rules = b"\x0a\x09\x0a\x05<unk>\x18\x02", b"\x12\x03bad"
    (tmp_path / "sentencepiece.bpe.model").write_bytes(piece + b"\x12\x00" + b"\x1a\x05" + rules)
    with pytest.raises(InputError, match="sentencepiece.bpe.model: cannot be read by the library"):
        load_tokenizer(tmp_path)


def test_bpe_of_sentencepiece_is_refused(trained: Path, tmp_path: Path) -> None:
    text = trained.with_name("text.txt")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "spiece"), vocab_size=52, model_type="bpe", minloglevel=2
    )
    with pytest.raises(InputError, match="is a model of BPE"):
        load_tokenizer(tmp_path)


def test_a_spiece_model_has_its_own_ids(trained: Path, tmp_path: Path) -> None:
    text = trained.with_name("text.txt")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "spiece"), vocab_size=48, model_type="unigram", minloglevel=2,
        pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, pad_piece="<pad>", user_defined_symbols="[CLS],[SEP],[MASK]",
    )  # fmt: skip
    names = {"pad_token": "<pad>", "unk_token": "<unk>"} | {f"{name.lower()}_token": f"[{name}]" for name in ROLES}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names), encoding="utf-8")
    found = load_tokenizer(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    assert found.special_ids == [0, 1, 2, 3, 4] and (found.separators, found.second_type) == (1, 1)
    assert found.encode("我今天 abc")[0].tolist() == theirs.encode("我今天 abc")

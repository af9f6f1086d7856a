"""The tokenizer: its ids and offsets, its files, and that it cuts text as PaddleNLP's slow tokenizers do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paddlenlp import transformers
from tokenizers import ByteLevelBPETokenizer

from ernie_tiny.data.tokenizer import (
    ROBERTA_SPECIAL_TOKENS,
    SPECIAL_TOKENS,
    ByteLevelTokenizer,
    Tokenizer,
    build_vocabulary,
    load_tokenizer,
)
from ernie_tiny.errors import InputError

DATA = os.environ.get("ERNIE_TINY_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="ERNIE_TINY_DATA names no data root")

WORDS = ["我", "爱", "北", "京", "[", "mask", "]", "un", "##aff", "##able", "℃", "25", "##6", "cafe", "□"]


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer([*SPECIAL_TOKENS, *WORDS])


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.tokens[index] for index in tokenizer.encode(text)[0]]


def test_ids_and_offsets_in_characters(tokenizer: Tokenizer) -> None:
    ids, offsets = tokenizer.encode("我爱 UNaffable")
    assert [tokenizer.tokens[index] for index in ids] == ["我", "爱", "un", "##aff", "##able"]
    assert offsets.tolist() == [[0, 1], [1, 2], [3, 5], [5, 8], [8, 12]]
    assert (ids.dtype, offsets.dtype) == ("int32", "int32")


def test_an_empty_text_has_empty_arrays(tokenizer: Tokenizer) -> None:
    ids, offsets = tokenizer.encode("")
    assert ids.shape == (0,) and offsets.shape == (0, 2)


def test_a_batch_equals_its_texts_one_by_one(tokenizer: Tokenizer) -> None:
    texts = ["我爱北京", "", "unaffable 256℃"]
    for (ids, offsets), text in zip(tokenizer.encode_batch(texts), texts):
        alone = tokenizer.encode(text)
        assert ids.tolist() == alone[0].tolist() and offsets.tolist() == alone[1].tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25℃", ["25", "℃"]),  # a symbol stands apart, as PaddleNLP has it and BERT has not
        ("□□", ["□", "□"]),
        ("Café", ["cafe"]),  # accents go
        ("北\u200b京", ["北", "京"]),  # a control character
        ("我\ud83d爱", ["我", "爱"]),  # half a surrogate pair
        ("unx", ["[UNK]"]),
        ("un" * 51, ["[UNK]"]),  # more than 100 characters
    ],
)
def test_rules_of_bert_and_of_paddlenlp(tokenizer: Tokenizer, text: str, expected: list[str]) -> None:
    assert pieces(tokenizer, text) == expected


def test_case_is_kept_on_request() -> None:
    assert pieces(Tokenizer([*SPECIAL_TOKENS, "Un", "un"], lowercase=False), "Un un") == ["Un", "un"]


@pytest.mark.parametrize("name", SPECIAL_TOKENS)
def test_a_special_token_in_a_text_is_no_special_token(tokenizer: Tokenizer, name: str) -> None:
    ids = tokenizer.encode(f"我{name}爱")[0].tolist()
    assert not {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id} & set(ids)
    assert len(ids) == 5 and pieces(tokenizer, "[MASK]") == ["[", "mask", "]"]


def test_special_ids_follow_the_vocabulary() -> None:
    tokenizer = Tokenizer(["[MASK]", "a", "[UNK]", "[SEP]", "[CLS]", "[PAD]"])
    ids = (tokenizer.mask_id, tokenizer.unk_id, tokenizer.sep_id, tokenizer.cls_id, tokenizer.pad_id)
    assert ids == (0, 2, 3, 4, 5) and tokenizer.vocab_size == 6


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_saved_tokenizer_is_loaded_as_it_was(tmp_path: Path, lowercase: bool) -> None:
    tokenizer = Tokenizer([*SPECIAL_TOKENS, "Un", "un", "\u2028"], lowercase)
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = load_tokenizer(tmp_path / "new" / "folder")
    assert (loaded.tokens, loaded.lowercase) == (tokenizer.tokens, lowercase)
    assert loaded.fingerprint == tokenizer.fingerprint


def test_the_fingerprint_tells_vocabularies_and_settings_apart() -> None:
    tokenizers = [Tokenizer([*SPECIAL_TOKENS, *tokens]) for tokens in (["a", "b"], ["b", "a"], ["a"])]
    tokenizers.append(Tokenizer([*SPECIAL_TOKENS, "a"], lowercase=False))
    assert len({tokenizer.fingerprint for tokenizer in tokenizers}) == 4
    assert all(len(tokenizer.fingerprint) == 64 for tokenizer in tokenizers)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_forms_of_bert_and_ernie(tmp_path: Path, end: str) -> None:
    tokens = [*SPECIAL_TOKENS, "我"]
    bert, ernie = tmp_path / "bert.txt", tmp_path / "ernie.txt"
    bert.write_bytes("".join(f"{token}{end}" for token in tokens).encode())
    ernie.write_bytes("".join(f"{token}\t{index}{end}" for index, token in enumerate(tokens)).encode())
    assert load_tokenizer(bert).tokens == load_tokenizer(ernie).tokens == tuple(tokens)


def test_of_a_token_that_stands_twice_the_later_id_counts(tmp_path: Path) -> None:
    """As in PaddleNLP; ERNIE 3.0's own vocabulary has "$" twice."""
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(["$", *SPECIAL_TOKENS, "$"]), encoding="utf-8")
    tokenizer = load_tokenizer(file)
    assert tokenizer.encode("$")[0].tolist() == [6] and tokenizer.vocab_size == 7


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*SPECIAL_TOKENS, "a", "[PAD]"], r"vocab.txt:7: \[PAD\] stands in line 1 too"),
        ([*SPECIAL_TOKENS, "", "a"], "vocab.txt:6: the line is empty"),
    ],
)
def test_a_broken_vocabulary(tmp_path: Path, lines: list[str], message: str) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path)


def test_a_vocabulary_that_is_not_there_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such vocabulary"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_bytes("我".encode("gbk"))
    with pytest.raises(InputError, match="is not UTF-8 at byte 0"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["un", "e", "我", "爱"]),
        ({"strip_accents": None, "tokenize_chinese_chars": True}, ["un", "e", "我", "爱"]),
        ({"strip_accents": False}, ["un", "é", "我", "爱"]),
        ({"do_lower_case": False, "strip_accents": True}, ["Un", "e", "我", "爱"]),
        ({"tokenize_chinese_chars": False}, ["un", "e", "我", "##爱"]),
    ],
    ids=["none", "usual", "accents-kept", "case-kept", "chinese-joined"],
)
def test_rules_of_the_settings_are_kept(tmp_path: Path, settings: dict[str, Any], expected: list[str]) -> None:
    tokens = [*SPECIAL_TOKENS, "Un", "un", "e", "é", "我", "爱", "##爱"]
    Tokenizer(tokens).save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    assert pieces(tokenizer, "Un é 我爱") == expected
    assert (tokenizer.fingerprint == Tokenizer(tokens).fingerprint) == (expected == ["un", "e", "我", "爱"])
    tokenizer.save(tmp_path / "saved")
    for other in (load_tokenizer(tmp_path / "saved"), tokenizer.keep(range(len(tokens)))):
        assert other.fingerprint == tokenizer.fingerprint and pieces(other, "Un é 我爱") == expected


@pytest.mark.parametrize("settings", ["{", "[]", '{"do_lower_case": "no"}', '{"tokenize_chinese_chars": null}'])
def test_broken_settings(tmp_path: Path, settings: str) -> None:
    Tokenizer(SPECIAL_TOKENS).save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(settings, encoding="utf-8")
    with pytest.raises(InputError, match="tokenizer_config.json"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_is_built_by_frequency_then_code_point() -> None:
    # 我 3, 爱 2; "ab" twice: a, ##a, b, ##b, ab each 2. Ties: # (23) before a, b, then 爱.
    tokens = build_vocabulary(["我爱ab", "我AB爱", "我"], vocab_size=100)
    assert tokens == [*SPECIAL_TOKENS, "我", "##a", "##b", "a", "ab", "b", "爱"]
    assert build_vocabulary(["我爱ab", "我AB爱", "我"], vocab_size=7) == tokens[:7]
    assert build_vocabulary(["我爱ab", "我AB爱", "我"], vocab_size=100, min_count=3) == tokens[:6]


def test_a_built_vocabulary_knows_its_characters_in_new_words() -> None:
    tokenizer = Tokenizer(build_vocabulary(["abc cab 5℃"], vocab_size=100, min_count=1))
    assert pieces(tokenizer, "acb cab ℃5") == ["a", "##c", "##b", "cab", "℃", "5"]


def test_a_vocabulary_must_hold_more_than_special_tokens() -> None:
    with pytest.raises(InputError, match="vocab_size = 5"):
        build_vocabulary(["我"], vocab_size=5)


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def dev_texts(per_file: int) -> list[str]:
    """Evenly spaced texts of every dev file of CLUE."""
    sample: list[str] = []
    for file in sorted((Path(DATA or "") / "clue").glob("*_public/*dev.json")):
        text = file.read_text(encoding="utf-8")
        try:
            document = json.loads(text)
        except json.JSONDecodeError:
            document = [json.loads(line) for line in text.split("\n") if line]
        texts = [value for value in strings(document) if len(value) > 1]
        sample += texts[:: max(1, len(texts) // per_file)]
    return sample


@needs_data
@pytest.mark.parametrize(
    ("vocabulary", "class_name"),
    [
        ("ernie_3.0_zh_vocab.txt", "ErnieTokenizer"),
        ("bert_base_chinese_vocab.txt", "BertTokenizer"),
    ],
)
def test_ids_equal_those_of_paddlenlp(tmp_path: Path, vocabulary: str, class_name: str) -> None:
    """No text of the sample differs, nor any of the 187,875 texts of the dev files, of shopping_10 and of
    one in 12 lines of general text (310,563 in all), when this was written."""
    tokenizer = load_tokenizer(Path(DATA or "") / "vocab" / vocabulary)
    # PaddleNLP takes a whole line, tab and id included, for the token: it needs the form that `save` writes.
    tokenizer.save(tmp_path)
    slow = getattr(transformers, class_name)(str(tmp_path / "vocab.txt"))
    texts = dev_texts(per_file=2500)
    assert len(texts) >= 20_000
    differing = [
        text
        for text, (ids, _) in zip(texts, tokenizer.encode_batch(texts))
        if ids.tolist() != slow.convert_tokens_to_ids(slow.tokenize(text))
    ]
    assert differing == []


@needs_data
def test_offsets_point_at_what_the_token_spells() -> None:
    tokenizer = load_tokenizer(Path(DATA or "") / "vocab" / "ernie_3.0_zh_vocab.txt")
    checked = 0
    for text in dev_texts(per_file=200):
        for index, (start, end) in zip(*tokenizer.encode(text)):
            token = tokenizer.tokens[index]
            if token.isascii() and token != "[UNK]" and text[start:end].isascii():
                checked += 1
                assert text[start:end].lower() == token.replace("##", "")
    assert checked > 1000


def test_characters_that_still_differ_from_paddlenlp(tmp_path: Path) -> None:
    """What Unicode 9 and later added: an Arabic mark that PaddleNLP strips, a comma that it sets apart."""
    tokenizer = Tokenizer([*SPECIAL_TOKENS, "a", "##b", "b", "\u2e49"])
    tokenizer.save(tmp_path)
    slow = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    assert (pieces(tokenizer, "a\u08d4b"), slow.tokenize("a\u08d4b")) == (["[UNK]"], ["a", "##b"])
    assert (pieces(tokenizer, "a\u2e49b"), slow.tokenize("a\u2e49b")) == (["[UNK]"], ["a", "\u2e49", "b"])


ENGLISH = (
    "The quick brown fox doesn't jump; it's naïve, isn't it?",
    "  Two  spaces,\ta tab and 3.14 (pi) – “quotes” €5 ",
    "CAFÉ in São Paulo: état, Ångström\nnew line",
    "mixed 中文 text 😀 and \u00a0 odd\u2028spaces",
    "<s> is no special token, nor is <mask> or [MASK]",
)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small vocabulary of RoBERTa's form, trained on the texts above."""
    folder = tmp_path_factory.mktemp("roberta")
    trainer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer.train_from_iterator(ENGLISH[:2] * 3, vocab_size=320, show_progress=False, special_tokens=special)
    trainer.save_model(str(folder))
    return folder


def test_english_word_pieces_equal_those_of_paddlenlp(tmp_path: Path) -> None:
    """Lower case without accents, as BERT uncased has it, and case kept."""
    for lowercase in (True, False):
        words = build_vocabulary(ENGLISH, 300, min_count=1)
        tokenizer = Tokenizer([*words, *("The", "##É", "CAF") * (not lowercase)], lowercase)
        tokenizer.save(tmp_path)
        slow = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=lowercase)
        for text in ENGLISH[:3]:
            assert pieces(tokenizer, text) == slow.tokenize(text)
    assert pieces(Tokenizer(words), "Naïve CAFÉ") == ["naive", "cafe"]


def test_byte_level_pieces_equal_those_of_paddlenlp(roberta: Path) -> None:
    tokenizer = load_tokenizer(roberta)
    slow = transformers.RobertaBPETokenizer(str(roberta / "vocab.json"), str(roberta / "merges.txt"))
    for text in ENGLISH[:4]:  # PaddleNLP takes the text "<s>" for the token
        assert pieces(tokenizer, text) == slow.tokenize(text)
    ids = (tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.unk_id, tokenizer.mask_id)
    assert ids == (0, 1, 2, 3, 4)
    assert (tokenizer.vocab_size, tokenizer.separators) == (slow.vocab_size, 2)


def test_byte_level_offsets_leave_out_the_space_before_a_word(roberta: Path) -> None:
    tokenizer, text = load_tokenizer(roberta), "The  fox, naïve 中"
    ids, offsets = tokenizer.encode(text)
    shown = [text[start:end] for start, end in offsets]
    assert (shown[0], shown[-1]) == ("The", "中")
    assert all(part == part.strip() for part in shown)
    covered = {place for start, end in offsets for place in range(start, end)}
    assert covered == {place for place, character in enumerate(text) if character != " "}
    assert (ids.dtype, offsets.shape) == ("int32", (len(ids), 2))


def test_a_special_token_in_a_byte_level_text_is_no_special_token(roberta: Path) -> None:
    tokenizer = load_tokenizer(roberta)
    assert not set(tokenizer.special_ids) & set(tokenizer.encode(ENGLISH[4])[0].tolist())


def test_a_saved_byte_level_tokenizer_is_loaded_as_it_was(roberta: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(roberta / "vocab.json")
    assert isinstance(tokenizer, ByteLevelTokenizer)
    tokenizer.save(tmp_path / "new")
    loaded = load_tokenizer(tmp_path / "new")
    assert (loaded.tokens, loaded.fingerprint) == (tokenizer.tokens, tokenizer.fingerprint)
    assert loaded.encode(ENGLISH[1])[0].tolist() == tokenizer.encode(ENGLISH[1])[0].tolist()
    assert ByteLevelTokenizer(tokenizer.tokens, tokenizer.merges[:-1]).fingerprint != tokenizer.fingerprint


def test_tokens_spell_their_text(roberta: Path) -> None:
    tokenizer, text = load_tokenizer(roberta), "The quick fox doesn't"
    ids = tokenizer.encode(text)[0].tolist()
    spelled, starts = tokenizer.spell([0, *ids, 2])
    assert spelled == f"\n{text}\n"
    assert [start - 1 for start in starts[1:-1]] == tokenizer.encode(text)[1][:, 0].tolist()
    spelled, starts = Tokenizer([*SPECIAL_TOKENS, "un", "##able", "to", "我"]).spell([2, 5, 6, 7, 8, 3])
    assert (spelled, starts) == ("\nunable to我\n", [0, 1, 1, 8, 10, 11])


@pytest.mark.parametrize(
    ("vocabulary", "merges", "message"),
    [
        ("[1", None, "vocab.json: is not a JSON object"),
        ('["a"]', None, "vocab.json: is not a JSON object"),
        ('{"a": 0, "b": 2}', None, "vocab.json: 'b' has id 2 where 1 was due"),
        ('{"a": 0, "<s>": 1}', None, "lacks the special tokens <pad>, <unk>, </s>, <mask>"),
        (None, None, "merges.txt: no such file"),
        (None, "#version: 0.2\na b\na c\n", r"merges.txt:3: 'a c' is not two tokens of vocab.json that give a third"),
        (None, "ab\n", "merges.txt:1: 'ab' is not two tokens"),
    ],
)
def test_broken_byte_level_files(tmp_path: Path, vocabulary: Any, merges: Any, message: str) -> None:
    tokens = [*ROBERTA_SPECIAL_TOKENS, "a", "b", "ab"]
    vocabulary = vocabulary or json.dumps({token: index for index, token in enumerate(tokens)})
    (tmp_path / "vocab.json").write_text(vocabulary, encoding="utf-8")
    if merges is not None:
        (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path)

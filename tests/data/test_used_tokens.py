"""The tokens that texts need: all that occur, and the characters of their words."""

from __future__ import annotations

import numpy as np

from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, ByteLevelTokenizer, Tokenizer
from ernie_tiny.data.used_tokens import used_tokens

TOKENS = [*SPECIAL_TOKENS, *"天气很好吗abcxy", "##a", "##b", "##c", "##x", "##气", "cab", "##ba", "xy", "$", "$"]
TOKENIZER = Tokenizer(TOKENS)


def kept(texts: list[str], min_count: int = 1) -> list[str]:
    return [TOKENS[index] for index in used_tokens(texts, TOKENIZER, min_count)]


def test_special_tokens_what_occurs_and_the_letters_of_words_are_kept() -> None:
    found = kept(["天气 很", "cabba", "天"])
    assert found == [*SPECIAL_TOKENS, "天", "气", "很", "a", "b", "c", "##a", "##b", "##c", "cab", "##ba"]
    assert kept(["天 a"]) == [*SPECIAL_TOKENS, "天", "a"]  # a word of one letter brings no piece


def test_rare_letters_are_left_out() -> None:
    found = kept(["cab cab xy"], min_count=2)
    assert "cab" in found and "##b" in found and "xy" in found
    assert "x" not in found and "##x" not in found


def test_of_a_token_that_stands_twice_the_one_that_is_used_is_kept() -> None:
    assert used_tokens(["$"], TOKENIZER, 1)[-1] == len(TOKENS) - 1
    assert kept(["$"]).count("$") == 1


def test_texts_of_kept_tokens_are_cut_as_before() -> None:
    ids = used_tokens(["天气好", "cabba xy"], TOKENIZER, 1)
    smaller = TOKENIZER.keep(ids)
    for text in ("好天", "cabba cab", "xy abc"):
        before, after = TOKENIZER.encode(text), smaller.encode(text)
        assert [ids[token] for token in after[0]] == before[0].tolist()
        assert np.array_equal(before[1], after[1])
    assert smaller.encode("吗")[0].tolist() == [smaller.unk_id]


def test_parts_of_merges_are_kept() -> None:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    whole = ByteLevelTokenizer(
        [*special, *"abcdxyz", "ab", "cd", "abcd", "bc", "abc", "xy"],
        [("a", "b"), ("c", "d"), ("ab", "cd"), ("b", "c"), ("ab", "c"), ("x", "y")],
    )
    ids = used_tokens(["abcd", "z"], whole, 1)
    assert [whole.tokens[index] for index in ids] == [*special, *"abcdxyz", "ab", "cd", "abcd"]
    smaller = whole.keep(ids)
    for text in ("abcd", "abcdz", "zab", "cdab"):
        assert [ids[token] for token in smaller.encode(text)[0]] == whole.encode(text)[0].tolist()
    assert [smaller.tokens[token] for token in smaller.encode("xy")[0]] == ["x", "y"]  # spelled, not unknown

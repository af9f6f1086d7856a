"""Augmented copies: which tokens are replaced, by what, and what stays."""

from __future__ import annotations

import numpy as np
import pytest

from ernie_tiny.batch import Feature
from ernie_tiny.data.augment import MaskedText, augment, restore
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *"天气很好我们去公园看花今日北京"])
CLS, SEP, MASK = TOKENIZER.cls_id, TOKENIZER.sep_id, TOKENIZER.mask_id
NEW = 1000  # a token that no text holds


def sequence(first: list[int], second: list[int]) -> tuple[np.ndarray, np.ndarray]:
    ids = [CLS, *first, SEP, *second, SEP]
    return np.array(ids, np.int32), (np.arange(len(ids)) >= len(first) + 2).astype(np.int32)


def pair(example_id: str, length: int = 12, label: int = 1) -> Feature:
    random = np.random.default_rng(length)
    return Feature(example_id, (sequence(*random.integers(5, 19, (2, length)).tolist()),), (label,))


def replace_by_new(texts: list[MaskedText]) -> list[np.ndarray]:
    return [NEW + text.ranks for text in texts]


def copies_of(features: list[Feature], copies: int = 3, probability: float = 0.4, seed: int = 1) -> list[Feature]:
    return augment(features, TOKENIZER, copies, probability, 15, seed, replace_by_new)


def flat(features: list[Feature]) -> np.ndarray:
    return np.concatenate([ids for feature in features for ids, _ in feature.sequences])


def test_copies_keep_label_types_and_special_tokens_and_have_names_of_their_own() -> None:
    features = [pair("a", label=2), pair("b", 7)]
    found = copies_of(features, probability=1.0)
    assert [copy.example_id for copy in found] == ["a+1", "a+2", "a+3", "b+1", "b+2", "b+3"]
    assert [copy.label for copy in found] == [(2,)] * 3 + [(1,)] * 3
    for feature, copy in zip(np.repeat(np.array(features, object), 3), found):
        (before, types), (after, copied_types) = feature.sequences[0], copy.sequences[0]
        assert np.array_equal(types, copied_types) and after.dtype == np.int32
        special = np.isin(before, TOKENIZER.special_ids)
        assert np.array_equal(after[special], before[special])
        assert (after[~special] >= NEW).all()
    assert not (flat(features) >= NEW).any()  # the originals are untouched


def test_the_probability_is_the_share_of_replaced_tokens_and_every_rank_is_alike_likely() -> None:
    features = [pair(str(number), 50) for number in range(40)]
    ids = flat(copies_of(features, copies=5))
    replaced = ids >= NEW
    ordinary = 5 * 40 * 100
    assert replaced.sum() / ordinary == pytest.approx(0.4, abs=0.02)  # 5 standard deviations
    counts = np.bincount(ids[replaced] - NEW, minlength=15)
    assert len(counts) == 15 and counts.min() > 0.8 * counts.mean()


def test_the_same_seed_gives_the_same_copies_in_any_company() -> None:
    features = [pair("a"), pair("b"), pair("c", 9)]
    together = copies_of(features)
    alone = [copy for feature in reversed(features) for copy in copies_of([feature])]
    for copy in together:
        (other,) = [other for other in alone if other.example_id == copy.example_id]
        assert np.array_equal(copy.sequences[0][0], other.sequences[0][0])
    assert np.array_equal(flat(copies_of(features, copies=2)[:2]), flat(together[:2]))  # more copies, same first ones
    assert not np.array_equal(flat(copies_of(features, seed=2)), flat(together))
    assert not np.array_equal(flat(together[:1]), flat(together[1:2]))


def test_the_model_sees_masks_at_the_chosen_tokens_and_only_texts_that_have_some() -> None:
    seen: list[MaskedText] = []

    def record(texts: list[MaskedText]) -> list[np.ndarray]:
        seen.extend(texts)
        return replace_by_new(texts)

    features = [pair("a", 1), pair("b", 1)]
    found = augment(features, TOKENIZER, 20, 0.2, 15, 3, record)
    assert 0 < len(seen) < 40 and len(found) == 40
    for text in seen:
        assert len(text.columns) and (text.input_ids[text.columns] == MASK).all()
        assert (text.input_ids == MASK).sum() == len(text.columns)
    assert sum((flat([copy]) >= NEW).any() for copy in found) == len(seen)


def test_a_choice_example_is_replaced_where_its_candidates_agree_and_alike_in_all() -> None:
    choice = Feature("q", (sequence([5, 6, 7, 8, 9], [10, 11, 12]), sequence([5, 6, 7, 8], [10, 11, 13, 14])), (1,))
    cloze = Feature("c", (sequence([5, 6], [7, MASK, 9, 10]), sequence([11], [7, MASK, 9, 10])), (0,))
    for copy in copies_of([choice], probability=1.0):
        first, second = (ids for ids, _ in copy.sequences)
        assert np.array_equal(first[1:5], second[1:5]) and (first[1:5] >= NEW).all()
        assert np.array_equal(first[7:9], second[6:8]) and (first[7:9] >= NEW).all()
        assert first[[5, 6, 9, 10]].tolist() == [9, SEP, 12, SEP]
        assert second[[5, 8, 9, 10]].tolist() == [SEP, 13, 14, SEP]
    for copy in copies_of([cloze], probability=1.0):
        first, second = (ids for ids, _ in copy.sequences)
        assert first[:4].tolist() == [CLS, 5, 6, SEP] and second[:3].tolist() == [CLS, 11, SEP]
        assert np.array_equal(first[4:], second[3:]) and first[5] == MASK
        assert (first[[4, 6, 7]] >= NEW).all()


def test_texts_are_told_apart_without_token_types() -> None:
    typed = Feature("q", (sequence([5, 6, 7], [8, 9]), sequence([5, 6], [8, 10])), (1,))
    untyped = Feature("q", tuple((ids, np.zeros_like(types)) for ids, types in typed.sequences), (1,))
    assert np.array_equal(flat(copies_of([untyped])), flat(copies_of([typed])))


def test_copies_are_restored_from_their_ids() -> None:
    features = [pair("a"), Feature("q", (sequence([5, 6], [7]), sequence([5, 6], [8, 9])), (1,))]
    found = copies_of(features)
    restored = restore(features, 3, flat(found))
    assert [copy.example_id for copy in restored] == [copy.example_id for copy in found]
    assert [copy.label for copy in restored] == [copy.label for copy in found]
    for one, other in zip(found, restored):
        assert len(one.sequences) == len(other.sequences)
        for (ids, types), (other_ids, other_types) in zip(one.sequences, other.sequences):
            assert np.array_equal(ids, other_ids) and np.array_equal(types, other_types)

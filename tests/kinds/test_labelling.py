"""Named entities from examples to features, decisions, answers and scores."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.scheme import IOBES

from ernie_tiny.batch import NO_LABEL, UNKNOWN
from ernie_tiny.data.batching import collate
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.kinds import labelling
from ernie_tiny.kinds.ask import add_head, decode, featurise
from ernie_tiny.kinds.entities import Entity
from ernie_tiny.kinds.tags import tag_names, tags_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.serving.export import check_parity, export_model
from ernie_tiny.serving.predictor import Predictor

TEXT = "甲乙丙丁戊己庚辛壬癸"
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *TEXT, "ab", "##cd", "a"])
SPEC = TaskSpec("mine", "labelling", {}, labels=("PER", "LOC"), scheme="bioes")
TAGS = tag_names(SPEC.labels, SPEC.scheme)
FAMILIES: dict[str, dict[str, Any]] = {
    "ernie": {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32,
              "max_position_embeddings": 64, "type_vocab_size": 2},
    "bilstm": {"num_hidden_layers": 1, "hidden_size": 16, "embedding_size": 8},
}  # fmt: skip


def example(text: str, *entities: tuple[str, int, int], name: str = "0") -> Example:
    return Example(name, (text,), answers=(tuple(Entity(text[a:b], kind, a, b) for kind, a, b in entities),))


def names(label: tuple[float, ...]) -> list[str]:
    return ["-" if number == NO_LABEL else TAGS[int(number)] for number in label]


def test_a_token_has_the_tag_of_its_first_character() -> None:
    (feature,) = featurise(SPEC, [example("甲abcd 乙丙", ("PER", 1, 5), ("LOC", 6, 8))], TOKENIZER, 16)
    assert names(feature.label) == ["-", "O", "B-PER", "E-PER", "B-LOC", "E-LOC", "-"]
    assert feature.offsets.tolist() == [[-1, -1], [0, 1], [1, 3], [3, 5], [6, 7], [7, 8], [-1, -1]]


def test_an_entity_of_one_token_is_single_however_many_characters_it_has() -> None:
    (feature,) = featurise(SPEC, [example("甲ab乙", ("PER", 1, 3))], TOKENIZER, 16)
    assert names(feature.label) == ["-", "O", "S-PER", "O", "-"]


def test_tokens_that_share_a_character_decide_once(monkeypatch: pytest.MonkeyPatch) -> None:
    offsets = np.array([[0, 1], [0, 1], [1, 2], [2, 2], [2, 4]])  # as byte-level BPE gives them
    ids, tokenizer = np.arange(5, 10, dtype=np.int32), Tokenizer(TOKENIZER.tokens)
    monkeypatch.setattr(tokenizer, "encode_batch", lambda texts: [(ids, offsets)])
    monkeypatch.setattr(tokenizer, "cover", lambda text, ids, offsets: offsets)
    (feature,) = featurise(SPEC, [Example("0", ("甲乙丙丁",))], tokenizer, 16)
    assert feature.label[1:-1] == (UNKNOWN, NO_LABEL, UNKNOWN, NO_LABEL, UNKNOWN)


def test_an_example_without_labels_says_which_tokens_decide() -> None:
    (feature,) = featurise(SPEC, [Example("0", ("甲乙",))], TOKENIZER, 16)
    assert feature.label == (NO_LABEL, UNKNOWN, UNKNOWN, NO_LABEL)


def test_windows_share_tokens_and_each_has_its_labels() -> None:
    made = list(labelling.features(SPEC, [example(TEXT, ("PER", 3, 5))], TOKENIZER, 8, stride=2))
    assert [feature.offsets[1:-1, 0].tolist() for feature in made] == [[0, 1, 2, 3, 4, 5], [4, 5, 6, 7, 8, 9]]
    assert [names(feature.label)[1:-1] for feature in made] == [
        ["O", "O", "O", "B-PER", "E-PER", "O"],
        ["E-PER", "O", "O", "O", "O", "O"],
    ]


def test_a_decision_is_a_token_that_has_a_label() -> None:
    examples = [example("甲乙丙", ("PER", 0, 2)), example("丁", name="1")]
    batch = collate(featurise(SPEC, examples, TOKENIZER, 16), "mine", TOKENIZER.pad_id)
    logits = paddle.arange(2 * len(TAGS) * 5, dtype="float32").reshape([2, len(TAGS), 5])
    table = labelling.decisions(logits, batch)
    assert [TAGS[number] for number in table.labels] == ["B-PER", "E-PER", "O", "O"]
    assert labelling.count(batch) == 4 and table.real is None and not table.numeric
    np.testing.assert_array_equal(table.logits.numpy()[3], logits.numpy()[1, :, 1])
    bare = [dataclasses.replace(each, answers=()) for each in examples]  # the same tokens decide
    unlabelled = collate(featurise(SPEC, bare, TOKENIZER, 16), "mine", TOKENIZER.pad_id)
    assert labelling.count(unlabelled) == 4 and not unlabelled.labelled.any()
    np.testing.assert_array_equal(labelling.decisions(logits, unlabelled).logits.numpy(), table.logits.numpy())


def logits_of(tags: list[str]) -> np.ndarray:
    """[tags, length] with [CLS] and [SEP], of which each token's tag has a probability of about 0.9."""
    table = np.zeros((len(TAGS), len(tags) + 2), np.float32)
    for column, tag in enumerate(tags, start=1):
        table[TAGS.index(tag), column] = np.log(0.9 * (len(TAGS) - 1) / 0.1)
    return table


def test_answers_cut_the_entity_out_of_the_text() -> None:
    asked = Example("0", ("甲 ab\u3000乙丙",))
    (feature,) = featurise(SPEC, [asked], TOKENIZER, 16)
    (found,) = decode(SPEC, [asked], [feature], [logits_of(["O", "S-PER", "B-LOC", "E-LOC"])])
    assert [(one.text, one.type, one.start, one.end) for one in found.answer] == [
        ("ab", "PER", 2, 4),
        ("乙丙", "LOC", 5, 7),
    ]
    assert [round(one.score, 5) for one in found.answer] == [0.9, 0.9]


def test_of_two_windows_the_one_with_more_room_decides() -> None:
    asked = Example("0", (TEXT,))
    made = list(labelling.features(SPEC, [asked], TOKENIZER, 8, stride=4))
    assert len(made) == 3
    logits = [logits_of(["O"] * 6) for _ in made]
    logits[0][:, 6], logits[1][:, 3] = logits_of(["S-PER"])[:, 1], logits_of(["S-LOC"])[:, 1]  # both are token 5
    (found,) = decode(SPEC, [asked], made, logits)
    assert [(one.text, one.type) for one in found.answer] == [("己", "LOC")]


def test_where_tags_break_the_scheme_the_best_that_keep_to_it_decide(caplog: pytest.LogCaptureFixture) -> None:
    asked = Example("0", ("甲乙丙",))
    (feature,) = featurise(SPEC, [asked], TOKENIZER, 16)
    with caplog.at_level("INFO"):
        (found,) = decode(SPEC, [asked], [feature], [logits_of(["B-PER", "O", "I-LOC"])])
    assert found.broken == 2 and found.record()["broken"] == 2
    assert [(one.text, one.type) for one in found.answer] == []  # each break costs as much: O thrice is as good as any
    assert "broken" not in Prediction("0", ()).record()
    assert "mine: 2 sequences of most probable tags in 1 answers do not keep to BIOES; the best that do" in caplog.text


def random_spans(draw: random.Random, length: int) -> list[tuple[str, int, int]]:
    spans, place = [], 0
    while place < length:
        end = min(length, place + draw.randint(1, 3))
        spans += [(draw.choice(SPEC.labels), place, end)] if draw.random() < 0.5 else []
        place = end
    return spans


def test_scores_are_seqevals() -> None:
    draw = random.Random(1)
    wanted = [random_spans(draw, 10) for _ in range(60)]
    kept = [[span for span in spans if draw.random() < 0.7] for spans in wanted]
    given = [[(draw.choice([kind, "LOC"]), start, end) for kind, start, end in spans] for spans in kept]
    examples = [example(TEXT, *spans, name=str(number)) for number, spans in enumerate(wanted)]
    answers = {one.id: example(TEXT, *spans).answers[0] for one, spans in zip(examples, given)}
    right, found = ([tags_of(spans, 10, "bioes") for spans in each] for each in (wanted, given))
    scores = labelling.scorer(SPEC, examples, answers)(np.arange(60))
    strict = {"mode": "strict", "scheme": IOBES}
    assert scores["f1"] == pytest.approx(100 * f1_score(right, found, **strict))
    assert scores["precision"] == pytest.approx(100 * precision_score(right, found, **strict))
    assert scores["recall"] == pytest.approx(100 * recall_score(right, found, **strict))
    by_type = classification_report(right, found, output_dict=True, **strict)
    assert labelling.LABELLING.by_type is labelling.by_type
    for line in labelling.by_type(SPEC, examples, answers):
        theirs = by_type[line["type"]]
        assert line["f1"] == pytest.approx(100 * theirs["f1-score"])
        assert (line["precision"], line["recall"]) == pytest.approx((100 * theirs["precision"], 100 * theirs["recall"]))
        assert line["entities"] == theirs["support"]


def test_scores_without_entities_and_without_labels() -> None:
    nothing = labelling.scorer(SPEC, [example("甲")], {"0": ()})(np.array([0]))
    assert nothing == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    with pytest.raises(InputError, match="example '0' has no label"):
        labelling.scorer(SPEC, [Example("0", ("甲",))], {"0": ()})


def test_agreement_looks_at_places_and_types_alone() -> None:
    one, same, other = Entity("甲", "PER", 0, 1, 0.9), Entity("甲", "PER", 0, 1, 0.8), Entity("甲", "LOC", 0, 1, 0.9)
    assert labelling.agreement([(one,), (one,), ()], [(same,), (other,), ()]) == pytest.approx(200 / 3)


def test_the_leaderboards_form() -> None:
    entities = (Entity("叶老桂", "PER", 0, 3), Entity("北京", "LOC", 4, 6), Entity("叶老桂", "PER", 6, 9))
    value = labelling.submitted(SPEC, Prediction("0", entities))
    assert value == {"PER": {"叶老桂": [[0, 2], [6, 8]]}, "LOC": {"北京": [[4, 5]]}}
    asked = Example("0", ("叶老桂在北京叶老桂",))
    assert labelling.submission_fault(SPEC, asked, value) == (None, None)
    assert "does not stand at 1 to 3" in labelling.submission_fault(SPEC, asked, {"PER": {"叶老桂": [[1, 3]]}})[0]
    assert "must be an object" in labelling.submission_fault(SPEC, asked, ["PER"])[0]
    assert "has no label 'ORG'" in labelling.submission_fault(SPEC, asked, {"ORG": {}})[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exported_model_answers_as_the_trained_one(family: str, tmp_path: Path) -> None:
    paddle.seed(5)
    model = MultiTaskModel(build_encoder(family, {**FAMILIES[family], "vocab_size": len(TOKENIZER.tokens)}))
    add_head(model, SPEC)
    for parameter in model.parameters():
        parameter.set_value(parameter + {"ernie": 0.5, "bilstm": 2.0}[family] * paddle.randn(parameter.shape))
    examples = [Example(str(number), (TEXT[number:] * 3,)) for number in range(8)]
    export_model(model, SPEC, TOKENIZER, 16, tmp_path)
    made = featurise(SPEC, examples, TOKENIZER, 16)
    assert max(check_parity(tmp_path, model, made, TOKENIZER.pad_id, 1e-4).values()) <= 1e-4
    expected = predict(model, SPEC, examples, made, TOKENIZER.pad_id)
    predictor = Predictor(tmp_path)
    found = predictor.predict(examples)
    plain = predictor.predict([example.texts[0] for example in examples])
    assert [one.answer for one in plain] == [one.answer for one in found]
    assert sum(len(one.answer) for one in found) > 0
    assert labelling.agreement([one.answer for one in found], [one.answer for one in expected]) == 100
    for one, asked in zip(found, examples):
        assert all(entity.text == asked.texts[0][entity.start : entity.end] for entity in one.answer)

"""An exported folder answers as the trained model does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import Example, Prediction
from ernie_tiny.engines import Engine, Signature
from ernie_tiny.engines.buckets import Buckets, in_buckets
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.kinds.ask import featurise, head_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.serving import predictor as predictor_module
from ernie_tiny.serving.export import export_model
from ernie_tiny.serving.exported import load_form
from ernie_tiny.serving.predictor import PART, Predictor
from tests.serving import test_export as export
from tests.serving.test_export import SHAPE, TEXT, TOKENIZER

WINDOWS = tuple(Example(str(n), ("天气", TEXT[n:] * 3)) for n in range(6))  # several each
EXAMPLES = {**export.EXAMPLES, "cmrc2018": WINDOWS}


@pytest.fixture(scope="module", params=sorted(EXAMPLES))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    spec = find_task(request.param)
    paddle.seed(3)
    model = MultiTaskModel(build_encoder("ernie", SHAPE), [head_of(spec)])
    for parameter in model.parameters():
        parameter.set_value(parameter + 0.3 * paddle.randn(parameter.shape))
    folder = tmp_path_factory.mktemp(spec.name)
    export_model(model, spec, TOKENIZER, 24, folder)
    return spec, model, folder


@pytest.mark.parametrize("batch_tokens", [64, 8192])
def test_it_answers_as_the_trained_model_whatever_the_batch(exported: tuple, batch_tokens: int) -> None:
    spec, model, folder = exported
    examples = EXAMPLES[spec.name]
    features = featurise(spec, examples, TOKENIZER, 24)
    expected = predict(model, spec, examples, features, TOKENIZER.pad_id)
    found = Predictor(folder).predict(examples, batch_tokens)
    assert [p.id for p in found] == [example.id for example in examples]
    assert [p.answer for p in found] == [p.answer for p in expected]
    assert len({p.answer for p in expected}) > 1  # a constant answer would prove nothing
    for own, other in zip(found, expected):
        np.testing.assert_allclose(own.scores, other.scores, atol=1e-4)


@pytest.mark.parametrize("missing", ["task.json", "model.json", "model.pdiparams"])
def test_a_folder_that_is_not_whole_is_refused(exported: tuple, missing: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported[2], folder)
    (folder / missing).unlink()
    with pytest.raises(InputError, match=missing):
        Predictor(folder)


def test_questions_of_one_id_get_their_own_answers(exported: tuple) -> None:
    spec, _, folder = exported
    examples = EXAMPLES[spec.name]
    predictor = Predictor(folder)
    expected = predictor.predict(examples)
    found = predictor.predict([replace(example, id="0") for example in examples])
    assert found == [replace(one, id="0") for one in expected]
    assert len({one.scores for one in found}) > 1
    assert predictor.predict([replace(example, id="") for example in examples]) == expected


def test_plain_texts_are_questions_where_the_task_has_texts(exported: tuple) -> None:
    spec, _, folder = exported
    if spec.texts:
        texts = [example.texts[0] for example in EXAMPLES[spec.name]]
        assert Predictor(folder).predict(texts) == Predictor(folder).predict(EXAMPLES[spec.name])
    else:
        with pytest.raises(InputError, match=f"{spec.name}: a question is an Example( with candidates)?, not '天气'"):
            Predictor(folder).predict([TEXT[5:7]])


def test_what_is_no_question_of_the_task_is_refused(exported: tuple) -> None:
    spec, _, folder = exported
    predictor, whole = Predictor(folder), EXAMPLES[exported[0].name][0]
    wrong = [replace(whole, texts=whole.texts[1:]), replace(whole, texts=(7,) * len(whole.texts))]
    for question in [*wrong, *[replace(whole, candidates=())] * bool(whole.candidates)]:
        with pytest.raises(InputError, match=f"{spec.name}: a question is "):
            predictor.predict([question])
    with pytest.raises(InputError, match=f"{spec.name}: a question is .*, not {{'sentence': '今天'}}"):
        predictor.predict({"sentence": "今天"})


def test_plain_texts_are_no_questions_where_a_record_marks_spans(tmp_path: Path) -> None:
    spec = find_task("cluewsc2020")
    export_model(MultiTaskModel(build_encoder("ernie", SHAPE), [head_of(spec)]), spec, TOKENIZER, 24, tmp_path)
    predictor = Predictor(tmp_path)
    with pytest.raises(InputError, match="cluewsc2020: a question is an Example, not '今天天气'"):
        predictor.predict(["今天天气"])
    assert predictor.predict([Example("0", ("_今天_天气[很好]",))])[0].answer in spec.labels


def test_of_many_questions_one_part_is_tokenised_ahead(exported: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, _, folder = exported
    predictor, made, ahead = Predictor(folder), list[int](), list[int]()
    monkeypatch.setattr(predictor_module, "PART", 2)
    monkeypatch.setattr(predictor_module, "featurise", lambda _, examples, *more: made.append(len(examples)) or [])

    def slow(spec: object, part: Sequence[Example], *_: object) -> list[Prediction]:
        time.sleep(0.05)  # time for all of them
        ahead.append(sum(made))
        return [Prediction(example.id, "0") for example in part]

    monkeypatch.setattr(predictor_module, "answer", slow)
    assert len(predictor.predict([EXAMPLES[spec.name][0]] * 9)) == 9
    assert ahead == [4, 6, 8, 9, 9]


def test_many_questions_are_answered_in_their_order_by_several_threads_at_once(exported: tuple) -> None:
    spec, _, folder = exported
    predictor = Predictor(folder)
    few = EXAMPLES[spec.name]
    many = [few[number % len(few)] for number in range(PART + 3)]  # more than are tokenised at a time
    expected = [predictor.predict([example])[0] for example in few]
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(predictor.predict, [many] * 3):
            assert [one.answer for one in found] == [expected[number % len(few)].answer for number in range(len(many))]
            np.testing.assert_allclose(found[-1].scores, expected[(len(many) - 1) % len(few)].scores, atol=1e-5)


def test_the_first_call_finds_the_engine_warm(exported: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[object] = []
    engine = load_form(exported[2])
    monkeypatch.setattr(predictor_module, "load_form", lambda *_: lambda batch: batches.append(batch) or engine(batch))
    predictor = Predictor(exported[2])
    assert predictor.engine_seconds == 0 and len(batches) == 1
    predictor.warm_up()
    rows = len(batches[0].input_ids)
    assert [batch.input_ids.shape for batch in batches[1:]] == [(rows, 16), (rows, 24)]
    assert predictor.engine_seconds == 0


def test_many_questions_of_any_length_are_few_shapes_to_the_engine(
    exported: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, model, folder = exported
    asked: set[tuple[int, ...]] = set()

    def spied(engine: Engine, signature: Signature) -> Engine:
        return in_buckets(lambda batch: asked.add(batch.input_ids.shape) or engine(batch), signature)

    monkeypatch.setattr(import_module("ernie_tiny.engines.paddle_inference"), "in_buckets", spied)
    given, random = set[tuple[int, ...]](), np.random.default_rng(0)

    def watched(*form: object) -> Engine:
        engine = load_form(*form)
        return lambda batch: given.add(batch.input_ids.shape) or engine(batch)

    monkeypatch.setattr(predictor_module, "load_form", watched)
    predictor = Predictor(folder)
    examples = EXAMPLES[spec.name]
    features = featurise(spec, examples, TOKENIZER, 24)
    expected = predict(model, spec, examples, features, TOKENIZER.pad_id)
    for _ in range(60):
        chosen = random.permutation(len(examples))[: random.integers(1, len(examples) + 1)]
        for number, found in zip(chosen, predictor.predict([examples[number] for number in chosen])):
            assert found.answer == expected[number].answer
            np.testing.assert_allclose(found.scores, expected[number].scores, atol=1e-5)
    assert len(asked) < len(given) and asked <= {(rows, length) for rows in Buckets(24).rows for length in (16, 24)}

"""Named entities: stretches of a text, each with a type (MSRA, CLUENER, a user's own).

A decision is a token's tag. A token that covers several characters belongs to the entity of its first one; where
several tokens share a character, as in byte-level BPE, the first of them alone decides.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import numpy as np

from ernie_tiny.batch import NO_LABEL, UNKNOWN, Array, Batch, Feature
from ernie_tiny.data.records import field_of, id_of
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import FACTS
from ernie_tiny.kinds.entities import Entity, places_of, read, recorded_entities
from ernie_tiny.kinds.kind import Decisions, Kind, Outputs, Records, Rows, ScoresOf, check_label
from ernie_tiny.kinds.metrics import log_softmax
from ernie_tiny.kinds.recorded import Recorded, softened
from ernie_tiny.kinds.sequences import encoded, row, sliding_windows
from ernie_tiny.kinds.submission import Submission, shown
from ernie_tiny.kinds.tags import best_tags, spans_of, tag_names, tags_of

STRIDE = 64  # tokens that two neighbouring windows of a long text share
METRICS = FACTS["labelling"].metrics

logger = logging.getLogger(__name__)


def inputs(spec: TaskSpec, records: Records) -> Rows:
    """{"text": ...} each."""
    for number, (place, record) in enumerate(records):
        yield place, Example(id_of(record, spec.id_field, number, place), (field_of(record, "text", str, place),))


def features(
    spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int, stride: int = STRIDE
) -> Iterator[Feature]:
    """[CLS] window [SEP] for each window of the text; neighbouring ones share `stride` tokens, at most half a window.

    The label is a tag's number for each token that decides, UNKNOWN without a label; NO_LABEL for the others.
    """
    number_of = {tag: number for number, tag in enumerate(tag_names(spec.labels, spec.scheme))}
    for example, ((ids, offsets),), room in encoded(spec, examples, tokenizer, max_length):
        deciding = _deciding(offsets)
        labels = np.where(deciding, UNKNOWN, NO_LABEL)
        for reference in example.answers:
            spans = [_tokens_of(entity, offsets[deciding]) for entity in reference]
            labels[deciding] = [number_of[tag] for tag in tags_of(spans, int(deciding.sum()), spec.scheme)]
        for window in sliding_windows(len(ids), room(2), stride):
            sequence = row(tokenizer, ids[window])
            places = np.full((len(sequence[0]), 2), -1, np.int32)
            places[1:-1] = offsets[window]
            yield Feature(example.id, (sequence,), (NO_LABEL, *labels[window].tolist(), NO_LABEL), places)


def _deciding(offsets: Array) -> Array:
    """bool [tokens]: whether a token covers a character that none before it covers."""
    deciding = offsets[:, 1] > offsets[:, 0]
    starts = offsets[deciding, 0]
    deciding[deciding] = np.diff(starts, prepend=-1) > 0
    return deciding


def _tokens_of(entity: Entity, offsets: Array) -> tuple[str, int, int]:
    """The entity as a stretch of tokens: those whose first character it holds."""
    first, end = np.searchsorted(offsets[:, 0], [entity.start, entity.end])
    return entity.type, int(first), int(end)


def _decides(batch: Batch) -> Array:
    """bool [features, length]: the tokens whose tags are decided, whether they are known or not."""
    assert batch.labels is not None  # features say by their labels which tokens decide
    deciding: Array = batch.labels != NO_LABEL
    return deciding


def decisions(logits: Any, batch: Batch) -> Decisions:
    """A decision a token, between the tags."""
    import paddle

    assert batch.labels is not None
    places = np.flatnonzero(_decides(batch))
    by_token = logits.transpose([0, 2, 1]).reshape([-1, logits.shape[1]])
    return Decisions(paddle.gather(by_token, paddle.to_tensor(places)), batch.labels.reshape(-1)[places])


def count(batch: Batch) -> int:
    """The tokens that decide."""
    return int(_decides(batch).sum())


def decode(spec: TaskSpec, examples: Sequence[Example], outputs: Outputs) -> list[Prediction]:
    """The entities of each text: those of its most probable tags or, where these do not keep to the scheme, of the most
    probable sequence that does (tags.best_tags).

    Of a token that two windows hold, the one counts in which it is farther from the end.
    """
    found = []
    for example in examples:
        entities, broken = _entities(spec, example.texts[0], outputs[example.id])
        found.append(Prediction(example.id, entities, broken=broken))
    broken = sum(prediction.broken for prediction in found)
    if broken:
        logger.info(
            "%s: %d sequences of most probable tags in %d answers do not keep to %s; the best that do stand for them",
            *(spec.name, broken, len(examples), spec.scheme.upper()),
        )
    return found


def _entities(spec: TaskSpec, text: str, windows: Sequence[tuple[Feature, Array]]) -> tuple[tuple[Entity, ...], int]:
    best: dict[int, tuple[int, int, Array]] = {}  # first character of a token to its room, its end, its logits
    for feature, values in windows:
        if feature.offsets is None:
            raise ValueError(f"example {feature.example_id}: a feature of {spec.kind} needs offsets.")
        inside = np.flatnonzero(feature.offsets[:, 0] >= 0)
        chosen = inside[_deciding(feature.offsets[inside])]
        for column in chosen:
            start, end = feature.offsets[column].tolist()
            room = min(column, len(feature.offsets) - 1 - column)
            if start not in best or best[start][0] < room:
                best[start] = (room, end, values[:, column])
    starts = sorted(best)
    if not starts:
        return (), 0
    scores = log_softmax(np.stack([best[start][2] for start in starts]))
    names = tag_names(spec.labels, spec.scheme)
    tags = scores.argmax(axis=1)
    spans, broken = spans_of([names[tag] for tag in tags], spec.scheme)
    if broken:
        tags = best_tags(scores, spec.labels, spec.scheme)
        spans, _ = spans_of([names[tag] for tag in tags], spec.scheme)
    probabilities = np.exp(scores[np.arange(len(tags)), tags])
    entities = []
    for name, first, end in spans:
        begin, stop = starts[first], best[starts[end - 1]][1]
        score = float(probabilities[first:end].mean())
        entities.append(Entity(text[begin:stop], name, begin, stop, score))
    return tuple(entities), broken


def _keys(entities: Sequence[Entity]) -> set[tuple[str, int, int]]:
    return {(entity.type, entity.start, entity.end) for entity in entities}


def _counts(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> Array:
    """int [examples, types, 3]: the entities that are found and right, that are found, and that there are."""
    number_of = {name: number for number, name in enumerate(spec.labels)}
    table = np.zeros((len(examples), len(spec.labels), 3), np.int64)
    for row_of, example in zip(table, examples):
        if not example.answers:
            raise InputError(f"{spec.name}: example {example.id!r} has no label. Score a split that has labels.")
        wanted, given = _keys(example.answers[0]), _keys(answers[example.id])
        for column, keys in enumerate((wanted & given, given, wanted)):
            for name, *_ in keys:
                row_of[number_of[name], column] += 1
    return table


def _scores(counts: Array) -> dict[str, float]:
    """Entity-level F1, precision and recall in percent; 0 where there is nothing to divide by, as seqeval has them."""
    right, found, wanted = (int(each) for each in counts)
    precision, recall = (100 * right / many if many else 0.0 for many in (found, wanted))
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return dict(zip(METRICS, (f1, precision, recall)))


def scorer(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> ScoresOf:
    """Scores over all types: an entity is right if its type and both of its ends are."""
    table = _counts(spec, examples, answers).sum(axis=1)
    return lambda chosen: _scores(table[chosen].sum(axis=0))


def by_type(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores of each type, and the number of its entities."""
    table = _counts(spec, examples, answers).sum(axis=0)
    return [{"type": name, **_scores(counts), "entities": int(counts[2])} for name, counts in zip(spec.labels, table)]


def agreement(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Percent of the texts in which two models find the same entities."""
    return 100 * sum(_keys(one) == _keys(other) for one, other in zip(first, second)) / len(first)


def submitted(spec: TaskSpec, prediction: Prediction) -> dict[str, dict[str, list[list[int]]]]:
    """CLUENER's form: {type: {words: [[first, last], ...]}}, the last character included."""
    found: dict[str, dict[str, list[list[int]]]] = defaultdict(lambda: defaultdict(list))
    for entity in prediction.answer:
        found[entity.type][entity.text].append([entity.start, entity.end - 1])
    return {name: dict(words) for name, words in found.items()}


def _with_objects(value: Any) -> Any:
    """A JSON value whose objects are tuples of their pairs, as the checker reads them, with dicts in their place."""
    return {name: _with_objects(item) for name, item in value} if isinstance(value, tuple) else value


def submission_fault(spec: TaskSpec, example: Example, answer: Any) -> tuple[Optional[str], Optional[str]]:
    """The text must hold the words at their places."""
    answer = _with_objects(answer)
    if not isinstance(answer, dict):
        return f"the answer is {shown(answer)}, and must be an object of types.", None
    try:
        for name, words in answer.items():
            check_label(spec, name, "the answer")
            for text, places in words.items():
                for first, last in places_of(places, f"{name}, {text!r}"):
                    if example.texts[0][first : last + 1] != text:
                        return f"{name} is {text!r}, which does not stand at {first} to {last}.", None
    except (InputError, AttributeError) as error:
        return f"the answer {shown(answer)} is not CLUENER's form ({error}).", None
    return None, None


def _of_characters(feature: Feature, numbers: Array) -> Array:
    """[tags, length]: for each token the numbers of its first character."""
    assert feature.offsets is not None
    rows = np.zeros((len(feature.offsets), numbers.shape[1]), np.float32)
    inside = feature.offsets[:, 0] >= 0
    rows[inside] = numbers[np.minimum(feature.offsets[inside, 0], len(numbers) - 1)]
    return rows.T


LABELLING = Kind(
    facts=FACTS["labelling"],
    read=read,
    label_names=lambda spec, example: tuple(entity.type for reference in example.answers for entity in reference),
    inputs=inputs,
    features=features,
    output_names=lambda spec: tag_names(spec.labels, spec.scheme),
    decisions=decisions,
    count=count,
    decode=decode,
    scorer=scorer,
    agreement=agreement,
    details=lambda spec, examples, answers, scores_of: {"types": by_type(spec, examples, answers)},
    submission=Submission(one_object=False, value=submitted, fault=submission_fault),
    sample_input=lambda spec: {"text": "王小明在北京大学读书。"},
    recorded=Recorded(
        texts=lambda spec, record, place: (field_of(record, "text", str, place),),
        options=lambda spec, example: tag_names(spec.labels, spec.scheme),
        labelled=recorded_entities,
        logits=_of_characters,
        softened=lambda feature, options, smoothing: softened(np.array(feature.label), options, smoothing).T,
        decisions=lambda example: len(example.texts[0]),
    ),
    by_type=by_type,
    answers=lambda spec: f"the entities of a text, of {len(spec.labels)} types, with their places in characters",
)

"""Blanks in a text that share a list of candidates, each of which fits one blank (ChID)."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from scipy.optimize import linear_sum_assignment

from ernie_tiny.batch import Array, Feature
from ernie_tiny.data.records import checked, field_of, json_document, json_lines
from ernie_tiny.data.task import UNLABELLED, Example, Prediction, TaskSpec, is_labelled
from ernie_tiny.data.tokenizer import Encoded, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import FACTS
from ernie_tiny.kinds.choice import MULTIPLE_CHOICE, candidate_scores, choices_of, index_fault, predictions_of
from ernie_tiny.kinds.kind import Outputs, Records, Rows, refuse_id_field
from ernie_tiny.kinds.sequences import Room, Row, encoded, row
from ernie_tiny.kinds.submission import Submission

BLANK = re.compile(r"#idiom\d+#")
# Stands for the other blanks of a passage: four signs "character missing" keep an idiom's length, hint at no
# candidate, and are one known token each in the vocabularies of ERNIE and BERT, while a tag would become
# about ten meaningless ones.
OTHER_BLANK = "□" * 4


def read(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """ChID: one example per blank. The first file holds the passages, the second and last, if any, the answers.

    Unlabelled files all hold passages.
    """
    refuse_id_field(spec)
    path, *answer_paths = paths
    if split == UNLABELLED and answer_paths:
        for part in paths:
            for place, example in read(spec, [part], split):
                assert example is not None
                yield place, dataclasses.replace(example, group=f"{part} {example.group}")
        return
    if is_labelled(split) and not answer_paths:
        raise InputError(
            f"{path}: no file of answers with it. This split of {spec.name} needs two files: passages and answers."
        )
    if len(answer_paths) > 1:
        raise InputError(
            f"{paths[2]}: is one file too many. The split {split!r} of {spec.name} has two, passages and answers. Join "
            "what holds passages into one file, and what holds answers into another."
        )
    answers = json_document(answer_paths[0]) if answer_paths else None
    yield from _blanks(json_lines(path), answers, answer_paths[0] if answer_paths else None)


def _blanks(records: Records, answers: Any, answer_file: Optional[Path]) -> Rows:
    for line, (place, record) in enumerate(records):
        candidates = choices_of(record, "candidates", place)
        for passage in field_of(record, "content", list, place):
            for blank in BLANK.finditer(checked(passage, str, f"{place}: a passage")):
                label = None
                if answers is not None:
                    label = field_of(answers, blank.group(), int, str(answer_file))
                    if not 0 <= label < len(candidates):
                        raise InputError(
                            f"{answer_file}: {blank.group()} is {label}, but its line has "
                            f"{len(candidates)} candidates ({place})."
                        )
                around = (passage[: blank.start()], passage[blank.end() :])
                texts = tuple(BLANK.sub(OTHER_BLANK, text) for text in around)
                yield place, Example(blank.group(), texts, label, candidates, group=str(line))


def inputs(spec: TaskSpec, records: Records) -> Rows:
    """{"content": [passages with #idiom000000# blanks], "candidates": [...]} each, one example a blank."""
    return _blanks(records, None, None)


def features(spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Iterator[Feature]:
    """[CLS] candidate [SEP] before [MASK] after [SEP] for each candidate.

    As in PaddleNLP's run_chid.py the text is a window with the blank in its middle; one side gets what the other does
    not use.
    """
    for example, texts, room in encoded(spec, examples, tokenizer, max_length):
        label = () if example.label is None else (example.label,)
        yield Feature(example.id, tuple(_rows(texts, tokenizer, room)), label)


def _rows(texts: Sequence[Encoded], tokenizer: Tokenizer, room: Room) -> list[Row]:
    (before, _), (after, _), *candidates = texts
    # One window for all candidates: a candidate must not win by the context that only it sees.
    left = room(3 + tokenizer.separators + max(len(candidate) for candidate, _ in candidates))
    num_before = min(len(before), max(left // 2, left - len(after)))
    window = np.concatenate([before[len(before) - num_before :], [tokenizer.mask_id], after[: left - num_before]])
    return [row(tokenizer, candidate, window) for candidate, _ in candidates]


def decode(spec: TaskSpec, examples: Sequence[Example], outputs: Outputs) -> list[Prediction]:
    """The index of each blank's candidate.

    Within a group, wherever its blanks stand in the data, every candidate is given to at most one blank, so that the
    sum of log-probabilities is the largest possible. (PaddleNLP's baseline assigns greedily within a batch, so that its
    accuracy depends on the batch size.) A group with more blanks than candidates has no such assignment: each of its
    blanks gets its best candidate.
    """
    scores = candidate_scores(examples, outputs)
    return predictions_of(examples, scores, _assign(examples, scores))


def _assign(examples: Sequence[Example], scores: Mapping[str, Array]) -> dict[str, int]:
    """Example id to candidate, each candidate at most once within a group."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for example in examples:  # a blank without a group is one of its own, whatever groups are called
        groups[(example.group, "" if example.group else example.id)].append(example.id)
    best: dict[str, int] = {}
    for names in groups.values():
        table = np.stack([scores[name] for name in names])
        if len(names) <= table.shape[1]:
            columns = linear_sum_assignment(table, maximize=True)[1]
        else:
            columns = table.argmax(axis=1)
        best.update(zip(names, columns.tolist()))
    return best


CLOZE = dataclasses.replace(
    MULTIPLE_CHOICE,
    facts=FACTS["cloze"],
    read=read,
    inputs=inputs,
    features=features,
    decode=decode,
    submission=Submission(
        one_object=True,
        value=lambda spec, prediction: int(prediction.answer),
        fault=lambda spec, example, answer: (index_fault(example, answer), None),
    ),
    sample_input=lambda spec: {"content": ["他做事一向#idiom000000#。"], "candidates": ["一丝不苟", "半途而废"]},
)

"""An exported model answering: Paddle Inference below, the features and the decoding of training above."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Optional, Union

import numpy as np

from ernie_tiny.batch import Array, Batch, Feature
from ernie_tiny.data.task import Example, Prediction
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.engine_facts import AUTO
from ernie_tiny.engines import Engine
from ernie_tiny.engines.buckets import Buckets
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.ask import answer, featurise
from ernie_tiny.kinds.read import examples_of
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.serving.auto import auto_engine
from ernie_tiny.serving.exported import load_form, read_spec

# Of a batch. Above it the largest arrays of a Transformer of width 768 pass 32 MB, which the C library takes from the
# system anew in each call: 8192 tokens of a student of width 312 cost 1.45 times as much a token as 2048 do.
BATCH_TOKENS = 2048
PART = 512  # examples that are tokenised while the engine answers those before

Question = Union[Example, str, tuple[str, ...]]


class Predictor:
    """Answers examples of the task that a folder was exported for, from the first call at full speed.

    It may be called by several threads: they tokenise side by side, and one after the other use the engine.

    Args:
        folder: That tools/export.py wrote.
        threads: CPU threads of the engine.
        engine, precision: One of the forms that the folder holds. With the engine "auto" the fastest for each shape of
            input, measured once on this machine (ernie_tiny.serving.auto), down to this precision.
    Attributes:
        engine_seconds: That the engine took so far, tokenisation and decoding left out.
    Raises:
        InputError: the folder is none, is damaged, or does not hold this form.
    """

    def __init__(self, folder: Path, threads: int = 1, engine: str = "paddle", precision: str = "float32") -> None:
        self.spec = read_spec(folder)
        self.tokenizer = load_tokenizer(folder)
        self.engine_seconds = 0.0
        self._one_at_a_time = threading.Lock()
        self._engine: Engine = (
            auto_engine(folder, precision, threads)
            if engine == AUTO
            else load_form(folder, (engine, precision), threads)
        )
        record = kind_named(self.spec.kind).sample_input(self.spec)
        self._only_texts = all(isinstance(value, str) for value in record.values())  # and no marks or choices
        self._sample = examples_of(self.spec, [("the sample", record)])
        self.predict(self._sample)  # an engine's first call takes longest
        self.engine_seconds = 0.0

    def warm_up(self) -> None:
        """Asks the engine once for an input of each length that it pads to: its first call of one takes longer."""
        rows = len(self._features(self._sample)[0].sequences)
        for length in Buckets(self.spec.max_length).lengths:
            ids = np.full((rows, length), self.tokenizer.pad_id, np.int64)
            self._engine(Batch(self.spec.name, (), ids, np.zeros_like(ids), np.ones_like(ids)))

    def predict(self, questions: Sequence[Question], batch_tokens: int = BATCH_TOKENS) -> list[Prediction]:
        """Predictions in the order of the questions; cloze examples of one group belong into one call.

        Texts of similar length meet in a batch. Where there are many, some are tokenised while others are answered.

        Args:
            questions: Examples, or plain texts and pairs of texts where a record of the task is one or two texts and
                nothing else. Ids are given back as they are, and need not differ; one without gets its number.
        Raises:
            InputError: a question has another number of texts than the task or lacks its candidates, or is neither an
                Example nor texts.
        """
        given = self.examples(questions)
        numbered = [replace(example, id=str(number)) for number, example in enumerate(given)]
        pad_id = self.tokenizer.pad_id
        found = [
            prediction
            for part, features in self._featurised(numbered)
            for prediction in answer(self.spec, part, features, pad_id, batch_tokens, self._network)
        ]
        return [replace(one, id=example.id or one.id) for one, example in zip(found, given)]

    def _featurised(self, examples: Sequence[Example]) -> Iterable[tuple[Sequence[Example], list[Feature]]]:
        """The examples with their features, in parts; another thread makes one part's while that before is answered."""
        whole = len(examples) <= PART or any(example.group for example in examples)  # a group shares its candidates
        if whole:
            yield examples, self._features(examples)
            return
        parts = [examples[start : start + PART] for start in range(0, len(examples), PART)]
        with ThreadPoolExecutor(1, "tokenise") as pool:  # the library takes all cores itself
            ahead = pool.submit(self._features, parts[0])
            for part, following in zip(parts, [*parts[1:], ()]):
                features, ahead = ahead.result(), pool.submit(self._features, following)
                yield part, features

    def _features(self, examples: Sequence[Example]) -> list[Feature]:
        return featurise(self.spec, examples, self.tokenizer, self.spec.max_length)

    def examples(self, questions: Sequence[Question]) -> list[Example]:
        """The questions as examples; errors are those of `predict`."""
        if isinstance(questions, str):  # a text is a sequence of texts of one character
            raise InputError(f"{self.spec.name}: questions are given in a list: predict([{questions!r}]).")
        given = [questions] if isinstance(questions, Mapping) else questions  # a record's keys are no questions
        return [self._example(question) for question in given]

    def _example(self, question: object) -> Example:
        example = question if isinstance(question, Example) else _plain_example(question)
        sample, named = self._sample[0], len(self.spec.texts) or facts_of(self.spec.kind).plain_texts
        plain = named and self._only_texts
        texts = named or len(sample.texts)
        wanted = f"{texts} texts ({', '.join(self.spec.texts) or 'text'})" if plain else "an Example"
        wanted += " with candidates" if sample.candidates else ""
        if example is None or not (plain or isinstance(question, Example)) or not _is_like(example, sample):
            raise InputError(f"{self.spec.name}: a question is {wanted}, not {question!r}.")
        if len(example.texts) != texts:
            raise InputError(
                f"{self.spec.name}: a question is {wanted}, and {len(example.texts)} texts were given: "
                f"{example.texts!r}."
            )
        return example

    def _network(self, batch: Batch) -> Array:
        with self._one_at_a_time:
            began = time.perf_counter()
            logits = self._engine(batch)["logits"]
            self.engine_seconds += time.perf_counter() - began
        return logits


def _is_like(example: Example, sample: Example) -> bool:
    """Whether an example says what it does in strings, and has candidates where another one has some."""
    strings = all(isinstance(text, str) for text in (*example.texts, *example.candidates))
    return strings and bool(example.candidates) >= bool(sample.candidates)


def _plain_example(question: object) -> Optional[Example]:
    texts = (question,) if isinstance(question, str) else question
    if isinstance(texts, (tuple, list)) and all(isinstance(text, str) for text in texts):
        return Example(texts=tuple(texts))
    return None

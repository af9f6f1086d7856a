"""An exported model answering: Paddle Inference below, the features and the decoding of training above."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional, Union

from ernie_tiny.batch import Array, Batch
from ernie_tiny.data.task import Example, Prediction
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.engines import Engine, load
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.ask import answer, featurise
from ernie_tiny.serving.auto import auto_engine
from ernie_tiny.serving.exported import LOGITS, read_spec

AUTO = "auto"

Question = Union[Example, str, tuple[str, ...]]


class Predictor:
    """Answers examples of the task that a folder was exported for.

    Args:
        folder: That tools/export.py wrote.
        threads: CPU threads of the engine.
        gpu: Number of the GPU, or None for the CPU.
        engine, precision: One of the forms that the folder holds. With the engine "auto" the fastest for each shape of
            input, measured once on this machine (ernie_tiny.serving.auto), down to this precision.
    Attributes:
        engine_seconds: That the engine took so far, tokenisation and decoding left out.
    Raises:
        InputError: the folder is none, is damaged, or does not hold this form.
    """

    def __init__(
        self,
        folder: Path,
        threads: int = 1,
        gpu: Optional[int] = None,
        engine: str = "paddle",
        precision: str = "float32",
    ) -> None:
        self.spec = read_spec(folder)
        self.tokenizer = load_tokenizer(folder)
        self.engine_seconds = 0.0
        self._engine: Engine = (
            auto_engine(folder, precision, threads)
            if engine == AUTO
            else load(folder, LOGITS, engine, precision, threads, gpu)
        )

    def predict(self, questions: Sequence[Question], batch_tokens: int = 8192) -> list[Prediction]:
        """Predictions in the order of the questions; cloze examples of one group belong into one call.

        Args:
            questions: Examples, or plain texts and pairs of texts where the task has one or two (of entities one). Ids
                are given back as they are, and need not differ; a question without one gets its number.
        Raises:
            InputError: a question has another number of texts than the task, or is neither an Example nor texts.
        """
        given = self.examples(questions)
        numbered = [replace(example, id=str(number)) for number, example in enumerate(given)]
        features = featurise(self.spec, numbered, self.tokenizer, self.spec.max_length)
        found = answer(self.spec, numbered, features, self.tokenizer.pad_id, batch_tokens, self._network)
        return [replace(one, id=example.id or one.id) for one, example in zip(found, given)]

    def examples(self, questions: Sequence[Question]) -> list[Example]:
        """The questions as examples; errors are those of `predict`."""
        if isinstance(questions, str):  # a text is a sequence of texts of one character
            raise InputError(f"{self.spec.name}: questions are given in a list: predict([{questions!r}]).")
        return [self._example(question) for question in questions]

    def _example(self, question: Question) -> Example:
        example = question if isinstance(question, Example) else _plain_example(question)
        texts = len(self.spec.texts) or facts_of(self.spec.kind).plain_texts
        wanted = f"{texts} texts ({', '.join(self.spec.texts) or 'text'})" if texts else "an Example"
        if example is None or not (texts or isinstance(question, Example)):
            raise InputError(f"{self.spec.name}: a question is {wanted}, not {question!r}.")
        if texts and len(example.texts) != texts:
            raise InputError(
                f"{self.spec.name}: a question is {wanted}, and {len(example.texts)} texts were given: "
                f"{example.texts!r}."
            )
        return example

    def _network(self, batch: Batch) -> Array:
        began = time.perf_counter()
        logits = self._engine(batch)["logits"]
        self.engine_seconds += time.perf_counter() - began
        return logits


def _plain_example(question: object) -> Optional[Example]:
    texts = (question,) if isinstance(question, str) else question
    if isinstance(texts, (tuple, list)) and all(isinstance(text, str) for text in texts):
        return Example(texts=tuple(texts))
    return None

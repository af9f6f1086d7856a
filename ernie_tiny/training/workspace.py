"""What the stages of one run share: its folder, tokenizer, tasks, general text and models."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Optional

import paddle

from ernie_tiny.batch import Feature
from ernie_tiny.config.schema import DROPOUTS, RunConfig, StageConfig, split_reference
from ernie_tiny.config.shapes import shape_of
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.corpus import build_corpus
from ernie_tiny.data.features import featurise
from ernie_tiny.data.reader import read_split
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer, build_vocabulary, load_tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import build_encoder, copy_layers
from ernie_tiny.models.multitask import MultiTaskModel, load_model
from ernie_tiny.training.callbacks import EventLog
from ernie_tiny.training.tasks import custom_tasks

MODEL_FOLDER = "model"
logger = logging.getLogger(__name__)


class Workspace:
    """Reads and builds what the stages of a run need, once."""

    def __init__(self, run: RunConfig) -> None:
        self.run = run
        self.folder, self.root = Path(run.folder), Path(run.data.root)
        self.events = EventLog(self.folder)
        self._custom = custom_tasks(run)
        self.examples = lru_cache(maxsize=None)(self._read_examples)

    def task(self, name: str) -> TaskSpec:
        return find_task(name, self._custom)

    def _read_examples(self, task: str, split: str, limit: Optional[int] = None) -> tuple[Example, ...]:
        read = read_split(self.task(task), self.root, split, limit)
        if read.dropped:
            logger.info("%s %s: %d rows without a usable label left out", task, split, read.dropped)
        return read.examples

    def features(
        self, task: str, split: str, max_length: Optional[int] = None, limit: Optional[int] = None
    ) -> list[Feature]:
        spec = self.task(task)
        examples = self.examples(task, split, limit)
        return featurise(spec, examples, self.tokenizer, max_length or spec.max_length)

    # ---- tokenizer and general text

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The run's one tokenizer, kept in the run folder."""
        folder = self.folder / "tokenizer"
        if not (folder / "vocab.txt").is_file():
            self._make_tokenizer().save(folder)
        return load_tokenizer(folder)

    def _make_tokenizer(self) -> Tokenizer:
        config = self.run.tokenizer
        if config.build_from is not None:
            return Tokenizer(build_vocabulary(self._lines(config.build_from), config.vocab_size))
        source = config.vocab or next((m.pretrained for m in self.run.models.values() if m.pretrained), None)
        if source is None:
            raise InputError(
                "tokenizer: no model is pretrained, so there is no vocabulary; set tokenizer.vocab or "
                "tokenizer.build_from."
            )
        if Path(source).exists():
            return load_tokenizer(Path(source))
        return load_tokenizer(_downloaded_vocabulary(source, self.folder / "vocabulary"))

    def _lines(self, corpus: str) -> Iterator[str]:
        for file in self.corpus_files(corpus):
            with file.open(encoding="utf-8") as stream:
                yield from stream

    def corpus_files(self, corpus: str) -> list[Path]:
        """The files of a corpus, its patterns resolved."""
        found: list[Path] = []
        for pattern in self.run.data.corpora[corpus].files:
            matches = sorted(self.root.glob(pattern))
            if not matches:
                raise InputError(
                    f"data.corpora.{corpus}.files: no file {pattern!r} below data.root = {self.root}. A corpus is "
                    "text with a paragraph a line and a blank line between documents."
                )
            found.extend(matches)
        return found

    def corpus(self, name: str) -> Path:
        """The folder of a corpus's token shards, built when it is not there."""
        folder = self.folder / "corpora" / name
        if paddle.distributed.get_rank() == 0:
            build_corpus(self.corpus_files(name), self.tokenizer, folder)
        if paddle.distributed.get_world_size() > 1:
            paddle.distributed.barrier()
        return folder

    # ---- models

    def stage_folder(self, stage: StageConfig, task: Optional[str]) -> Path:
        folder = self.folder / "stages" / stage.name
        return folder / task if stage.per_task and task is not None else folder

    def stage_of(self, reference: str) -> StageConfig:
        """The stage of model@stage."""
        stage_name = split_reference(reference)[1]
        assert stage_name is not None
        return self.run.stage(stage_name)

    def model_folder(self, reference: str, task: Optional[str] = None) -> Path:
        """Where the weights of model@stage lie; `task` picks those of one task of a stage that runs per task."""
        return self.stage_folder(self.stage_of(reference), task) / MODEL_FOLDER

    def model(self, reference: str, task: Optional[str] = None, seed: Optional[int] = None) -> MultiTaskModel:
        """The weights of model@stage, or a model as configured with its initial weights.

        Initial weights depend on the seed alone (by default the run's), so that a student and the same student
        without distillation begin alike.
        """
        name, stage = split_reference(reference)
        if stage is not None:
            return load_model(str(self.model_folder(reference, task)))
        config = self.run.models[name]
        paddle.seed(self.run.seed if seed is None else seed)
        if config.pretrained is not None:
            dropouts = {name: getattr(config, name) for name in DROPOUTS if getattr(config, name) is not None}
            model = load_model(config.pretrained, **dropouts)
            self._check_vocabulary(config.pretrained, model)
        else:
            shape = shape_of(config, self.tokenizer.vocab_size)
            assert shape is not None
            model = MultiTaskModel(build_encoder(config.family, dataclasses.asdict(shape)))
        if config.init_from is not None:
            copy_layers(self.model(config.init_from, task).encoder, model.encoder, config.init_layers)
        return model

    def _check_vocabulary(self, pretrained: str, model: MultiTaskModel) -> None:
        size = model.encoder.config.vocab_size
        if size < self.tokenizer.vocab_size:
            raise InputError(
                f"{pretrained}: has embeddings for {size} tokens, the run's vocabulary holds "
                f"{self.tokenizer.vocab_size}. Set tokenizer.vocab to the vocabulary that the model was trained with."
            )


def _downloaded_vocabulary(name: str, folder: Path) -> Path:
    """The vocab.txt of a PaddleNLP model, fetched by PaddleNLP."""
    from paddlenlp.transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(name).save_pretrained(str(folder))
    except (OSError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        raise InputError(
            f"tokenizer: the vocabulary of {name} cannot be fetched ({str(error).strip().splitlines()[0][:200]}). "
            "Set tokenizer.vocab to a vocab.txt, or run once where there is a network."
        ) from error
    return folder

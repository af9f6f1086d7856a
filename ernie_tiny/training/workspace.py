"""What the stages of one run share: its folder, tokenizer, tasks, general text and models."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Optional

import paddle

from ernie_tiny import processes
from ernie_tiny.batch import Feature
from ernie_tiny.config.schema import DROPOUTS, IMPORTANCE, RunConfig, StageConfig, split_reference
from ernie_tiny.config.shapes import shape_of
from ernie_tiny.data.batching import collate
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.corpus import build_corpus, corpus_files, is_built_from, paragraphs_of
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer, build_vocabulary, load_tokenizer
from ernie_tiny.errors import InputError, first_line
from ernie_tiny.files import MANIFEST, require_whole, whole_folder
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.read import split_reader
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.backbone import build_encoder, copy_layers, copy_word_embeddings, usable_positions
from ernie_tiny.models.hub import hub_folder, is_hub_name
from ernie_tiny.models.multitask import MultiTaskModel, load_model
from ernie_tiny.models.narrowing import narrow_layers
from ernie_tiny.models.pruning import keep_heads, keep_neurons
from ernie_tiny.training.checkpoint import unfinished_stages
from ernie_tiny.training.events import EventLog
from ernie_tiny.training.flops import input_length
from ernie_tiny.training.importance import importance_of
from ernie_tiny.training.shared_vocabulary import compare_vocabulary
from ernie_tiny.training.tasks import custom_tasks

MODEL_FOLDER = "model"
IMPORTANCE_EXAMPLES, IMPORTANCE_BATCH = 1000, 16  # drawn from each task's dev split, by which parts are judged
logger = logging.getLogger(__name__)


class Workspace:
    """Reads and builds what the stages of a run need, once."""

    def __init__(self, run: RunConfig) -> None:
        self.run = run
        self.folder, self.root = Path(run.folder), Path(run.data.root)
        self.events = EventLog(self.folder)
        self._custom = custom_tasks(run)
        self._checked_corpora: set[str] = set()
        self._compared: set[str] = set()
        self._read = split_reader(self.task, self.root)
        self.examples = lru_cache(maxsize=None)(self._read_examples)

    def task(self, name: str) -> TaskSpec:
        return find_task(name, self._custom)

    def _read_examples(self, task: str, split: str, limit: Optional[int] = None) -> tuple[Example, ...]:
        read = self._read(task, split, limit)
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

    def prepare(self) -> None:
        """Builds the tokenizer and the general text that is still to be trained on, where they are not there."""
        logger.info("vocabulary: %d tokens", self.tokenizer.vocab_size)
        for name in dict.fromkeys(stage.data.corpus for stage in unfinished_stages(self.run)):
            if name is not None:
                self.corpus(name)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The run's one tokenizer, kept in the run folder."""
        folder = self.folder / "tokenizer"
        processes.from_main(lambda: self._write_tokenizer(folder))
        return load_tokenizer(folder)

    def _write_tokenizer(self, folder: Path) -> None:
        if (folder / MANIFEST).is_file():
            require_whole(folder, "Remove it: it is made anew from the same source.")
        if folder.exists():
            return
        tokenizer = self._make_tokenizer()
        with whole_folder(folder) as partial:
            tokenizer.save(partial)

    def _make_tokenizer(self) -> Tokenizer:
        config, source = self.run.tokenizer, self.run.vocabulary_source
        if source is not None:
            here = Path(source)
            return load_tokenizer(here) if here.exists() else _named_tokenizer(source, self.folder / "vocabulary")
        if config.build_from is not None:
            lines = paragraphs_of(self.corpus_files(config.build_from), self.run.data.corpora[config.build_from].field)
            return Tokenizer(build_vocabulary(lines, config.vocab_size))
        raise InputError(
            "tokenizer: no model is pretrained, so there is no vocabulary; set tokenizer.vocab or tokenizer.build_from."
        )

    def corpus_files(self, corpus: str) -> list[Path]:
        """The files of a corpus, its patterns resolved."""
        return corpus_files(self.root, self.run.data.corpora[corpus].files, f"data.corpora.{corpus}.files")

    def corpus(self, name: str) -> Path:
        """The folder of a corpus's token shards, built when it is not there, and read through when it is."""
        folder = self.folder / "corpora" / name
        if name not in self._checked_corpora:
            processes.from_main(lambda: self._build_corpus(name, folder))
            self._checked_corpora.add(name)
        return folder

    def _build_corpus(self, name: str, folder: Path) -> None:
        files, field = self.corpus_files(name), self.run.data.corpora[name].field
        if not (folder / MANIFEST).is_file():
            build_corpus(files, self.tokenizer, folder, field)
            return
        require_whole(folder, "Remove it: it is made anew from the same text.")
        if not is_built_from(files, self.tokenizer, folder, field):
            raise InputError(
                f"data.corpora.{name}.files: the text has changed since {folder} was made of it. Put it back, or give "
                "-o output_dir=ANOTHER."
            )

    # ---- models

    def stage_folder(self, stage: StageConfig, task: Optional[str]) -> Path:
        folder = Path(stage.taken_from or self.folder) / "stages" / stage.name
        return folder / task if stage.per_task and task is not None else folder

    def stage_of(self, reference: str, task: Optional[str] = None) -> StageConfig:
        """The stage of model@stage, with the settings of a task."""
        return self.run.stage_of(reference).of_task(task)

    def model_folder(self, reference: str, task: Optional[str] = None) -> Path:
        """Where the weights of model@stage lie; `task` picks those of one task of a stage that runs per task."""
        stage, model = self.stage_of(reference), split_reference(reference)[0]
        folder = MODEL_FOLDER if model == split_reference(stage.train)[0] else f"{MODEL_FOLDER}-{model}"
        return self.stage_folder(stage, task) / folder

    def model(self, reference: str, task: Optional[str] = None, seed: Optional[int] = None) -> MultiTaskModel:
        """The weights of model@stage, or a model as configured with its initial weights.

        Initial weights depend on the seed alone (by default the run's), so that a student and the same student
        without distillation begin alike.
        """
        name, stage = split_reference(reference)
        if stage is not None:
            folder = self.model_folder(reference, task)
            if not folder.is_dir():
                raise InputError(f"{reference}: that stage is not finished ({folder} is not there). Train it first.")
            require_whole(folder, f"Remove {folder.parent} and run the same command again to repeat the stage.")
            return load_model(str(folder))
        config = self.run.models[name]
        paddle.seed(self.run.seed if seed is None else seed)
        if config.pretrained is not None:
            dropouts = {name: getattr(config, name) for name in DROPOUTS if getattr(config, name) is not None}
            model = load_model(config.pretrained, **dropouts)
            self._check_vocabulary(config.pretrained, model)
            self._compare_vocabulary(name, config.pretrained)
        else:
            shape = shape_of(config, self.tokenizer.vocab_size)
            assert shape is not None
            numbers = {name: value for name, value in dataclasses.asdict(shape).items() if value is not None}
            arguments = {**numbers, "pad_token_id": self.tokenizer.pad_id}  # its embedding is 0
            if shape.recurrent and self.tokenizer.second_type == 0:  # token types do not tell the texts of a pair apart
                arguments["sep_token_id"] = self.tokenizer.sep_id
            model = MultiTaskModel(build_encoder(config.family, arguments))
        if config.pooling is not None:
            model.encoder.config.pooling = config.pooling
        if config.init_from is not None:
            whole = self.model(config.init_from, task)
            source = whole.encoder
            if config.init_narrowed == IMPORTANCE:
                self._take_important(name, whole, model)
            elif config.init_narrowed is not None:
                narrow_layers(source, model.encoder, config.init_layers, config.init_narrowed)
            elif config.init_layers:
                copy_layers(source, model.encoder, config.init_layers)
            else:
                copy_word_embeddings(source, model.encoder)
        return model

    def check_lengths(self, stage: StageConfig, tasks: Sequence[str], name: str, model: MultiTaskModel) -> None:
        """Raises an InputError where a stage's inputs on these tasks are longer than a model has positions."""
        room = usable_positions(model.encoder)  # None: any length
        length = input_length(stage, [self.task(task) for task in tasks])
        if room is not None and length > room:
            raise InputError(
                f"stages.{stage.name}.data.max_length: inputs of {length} tokens do not fit the {room} positions of "
                f"{name}. Lower data.max_length or raise max_position_embeddings."
            )

    def _take_important(self, name: str, source: MultiTaskModel, model: MultiTaskModel) -> None:
        """Gives a model the source's layers less what matters least to its answers on dev, and the tasks' heads."""
        config = self.run.models[name]
        if not source.head_specs:
            raise InputError(
                f"models.{name}.init_narrowed = {IMPORTANCE}: {config.init_from} has no head, and by its answers "
                "its parts are judged. Name model@stage in init_from, of a stage whose objective reads answers."
            )
        batches, kinds = [], {}
        for task, spec in ((task, self.task(task)) for task in source.head_specs):
            length = min(spec.max_length, usable_positions(source.encoder) or spec.max_length)
            features = self.features(task, "dev", length, IMPORTANCE_EXAMPLES)
            starts = range(0, len(features), IMPORTANCE_BATCH)
            batches += [collate(features[at : at + IMPORTANCE_BATCH], task, self.tokenizer.pad_id) for at in starts]
            kinds[task] = kind_named(spec.kind)
        importance = importance_of(source, batches, kinds)
        keep_heads(source.encoder, importance.heads, model.encoder.config.num_attention_heads)
        keep_neurons(source.encoder, importance.neurons, model.encoder.config.intermediate_size)
        copy_layers(source.encoder, model.encoder, config.init_layers)
        for head in source.head_specs.values():
            model.add_head(head)
        model.heads.set_state_dict(source.heads.state_dict())

    def _check_vocabulary(self, pretrained: str, model: MultiTaskModel) -> None:
        size = model.encoder.config.vocab_size
        if size < self.tokenizer.vocab_size:
            raise InputError(
                f"{pretrained}: has embeddings for {size} tokens, the run's vocabulary holds "
                f"{self.tokenizer.vocab_size}. Set tokenizer.vocab to the vocabulary that the model was trained with."
            )

    def _compare_vocabulary(self, model: str, name: str) -> None:
        """Compares the vocabulary of a model by name with the run's, once; check_run does so of a folder's."""
        if model in self._compared or Path(name).exists() or name == self.run.vocabulary_source:
            return
        with TemporaryDirectory() as folder:
            try:
                its = _named_tokenizer(name, Path(folder))
            except InputError as error:
                logger.warning(
                    "models.%s.pretrained = %s: its vocabulary cannot be had (%s), so it could not be compared with "
                    "the run's. Make sure that they are the same, or set tokenizer.vocab to %s.",
                    *(model, name, first_line(error.__cause__ or error), name),
                )
            else:
                compare_vocabulary(model, name, its, self.tokenizer)
        self._compared.add(model)


def _named_tokenizer(name: str, folder: Path) -> Tokenizer:
    """The tokenizer of a model of the hub, or of PaddleNLP's, whose vocabulary comes into the folder."""
    return load_tokenizer(hub_folder(name) if is_hub_name(name) else _downloaded_vocabulary(name, folder))


def _downloaded_vocabulary(name: str, folder: Path) -> Path:
    """The vocab.txt of a PaddleNLP model, fetched by PaddleNLP."""
    from paddlenlp.transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(name).save_pretrained(str(folder))
    except (OSError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        raise InputError(
            f"tokenizer: the vocabulary of {name} cannot be fetched ({first_line(error)}). "
            "Set tokenizer.vocab to a vocab.txt, or run once where there is a network."
        ) from error
    return folder

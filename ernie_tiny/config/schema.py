"""Every key that a config file may have, as frozen dataclasses. The comments are the reference of the keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Optional

CORPUS_LENGTH = 128  # tokens of an input of general text where a stage does not say

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")  # what may be changed of a pretrained model


@dataclass(frozen=True)
class RuntimeConfig:
    """How a run uses the machine, and what it shows and keeps."""

    device: str = "auto"  # auto, cpu, gpu, gpu:1, ...
    threads: int = 0  # CPU threads; 0 takes every core
    precision: str = "float32"  # float32, float16 or bfloat16 (the last two on a GPU)
    logging_steps: int = 20
    save_steps: int = 200  # optimizer steps between checkpoints within a stage; 0 keeps none
    keep_checkpoints: int = 2
    visualdl: bool = True


@dataclass(frozen=True)
class TaskConfig:
    """A user's own task; the fields are those of ernie_tiny.data.task.TaskSpec."""

    kind: str
    files: Mapping[str, tuple[str, ...]]  # split to files, relative to data.root
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_field: str = "label"
    id_field: str = "id"
    drop_labels: tuple[str, ...] = ()
    file_format: str = "jsonl"
    metric: str = "accuracy"
    max_length: int = 128


@dataclass(frozen=True)
class CorpusConfig:
    """General text: a paragraph a line, a blank line between documents."""

    files: tuple[str, ...]  # files or patterns (*.txt), relative to data.root


@dataclass(frozen=True)
class DataConfig:
    root: str = "data"  # holds clue/, corpus/ and the like
    sample: bool = False  # write the project's own small data set into data.root first
    tasks: Mapping[str, TaskConfig] = field(default_factory=dict)
    corpora: Mapping[str, CorpusConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenizerConfig:
    """The one vocabulary of a run. With neither key it is that of the first pretrained model."""

    vocab: Optional[str] = None  # a vocab.txt, a folder that holds one, or a PaddleNLP model name
    build_from: Optional[str] = None  # name of a corpus to build a vocabulary from
    vocab_size: int = 8000  # of a vocabulary that is built


@dataclass(frozen=True)
class ModelConfig:
    """An encoder: by name or folder (pretrained), by a published shape's name, or by its numbers."""

    pretrained: Optional[str] = None  # PaddleNLP name or local folder
    family: str = "ernie"  # ernie, bert or roberta
    shape: Optional[str] = None  # base, medium, mini, micro, nano or pico
    num_hidden_layers: Optional[int] = None
    hidden_size: Optional[int] = None
    num_attention_heads: Optional[int] = None
    intermediate_size: Optional[int] = None
    max_position_embeddings: Optional[int] = None
    type_vocab_size: Optional[int] = None
    hidden_dropout_prob: Optional[float] = None
    attention_probs_dropout_prob: Optional[float] = None
    init_from: Optional[str] = None  # model or model@stage whose layers and embeddings the model starts with
    init_layers: tuple[int, ...] = ()  # which of its layers, counted from 0


@dataclass(frozen=True)
class SamplingConfig:
    """How often each task is drawn in a multi-task stage."""

    strategy: str = "proportional"  # proportional, temperature, uniform or explicit
    exponent: float = 0.5  # temperature: p ~ examples ** exponent
    weights: Mapping[str, float] = field(default_factory=dict)  # explicit


@dataclass(frozen=True)
class StageDataConfig:
    """Tasks with their train splits, or one corpus."""

    tasks: tuple[str, ...] = ()
    corpus: Optional[str] = None
    max_length: Optional[int] = None  # tokens; by default the task's own, CORPUS_LENGTH for general text
    examples: Optional[int] = None  # take only the first so many training examples of a task
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


@dataclass(frozen=True)
class HardTerm:
    """Cross-entropy with the gold labels, for every kind of head."""

    weight: float = 1.0


@dataclass(frozen=True)
class MlmTerm:
    """Masked language modelling (BERT: 15 %, 80/10/10)."""

    weight: float = 1.0
    probability: float = 0.15
    whole_words: bool = False


@dataclass(frozen=True)
class RelationTerm:
    """Self-attention relations (MiniLMv2)."""

    weight: float = 1.0
    pairs: tuple[str, ...] = ("qq", "kk", "vv")
    relation_heads: int = 12
    teacher_layer: int = -1  # counted from 0, or from the end
    student_layer: int = -1


@dataclass(frozen=True)
class ObjectiveConfig:
    """A weighted sum of terms; a term that is absent is not computed."""

    hard: Optional[HardTerm] = None
    mlm: Optional[MlmTerm] = None
    relation: Optional[RelationTerm] = None

    def terms(self) -> dict[str, object]:
        """The terms that are present, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    @property
    def needs_teacher(self) -> bool:
        return self.relation is not None


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear decay after a linear warm-up; no decay on biases and norms."""

    learning_rate: float = 5.0e-5
    max_steps: Optional[int] = None  # optimizer steps; or
    epochs: Optional[float] = None  # passes over the tasks' training examples
    batch_size: Optional[int] = None  # examples (corpus: sequences) a batch, over all processes; or
    max_tokens: Optional[int] = None  # padded tokens a batch, over all processes, in length-bucketed batches
    accumulate: int = 1  # batches summed into one optimizer step
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1.0e-8


@dataclass(frozen=True)
class SelectConfig:
    """Scores on dev while training; the best weights are kept instead of the last when `every` is given."""

    every: Optional[int] = None  # optimizer steps between evaluations
    examples: Optional[int] = None  # take only the first so many dev examples of a task


@dataclass(frozen=True)
class StageConfig:
    """Trains one model, on some data, towards some objective, with or without a teacher."""

    name: str
    train: str  # model (as configured) or model@stage (the weights that it had when that stage ended)
    data: StageDataConfig
    objective: ObjectiveConfig
    teacher: Optional[str] = None
    per_task: bool = False  # run the stage once for each of its tasks
    skip: bool = False  # leave the stage out and link the next one to what it started from
    auxiliary_layers: int = 0  # extra top layers of the trained model, dropped at the end (ERNIE 3.0 Titan, ALD)
    optim: OptimConfig = field(default_factory=OptimConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    seed: Optional[int] = None  # of initial weights, order and dropout; by default the run's


@dataclass(frozen=True)
class ReportConfig:
    """Whose scores stand side by side, as model@stage."""

    teacher: Optional[str] = None
    student: Optional[str] = None
    baseline: Optional[str] = None  # the same student without distillation
    tasks: tuple[str, ...] = ()  # by default those of the student's stage
    examples: Optional[int] = None  # take only the first so many dev examples of a task
    batch_tokens: int = 8192


@dataclass(frozen=True)
class ExportConfig:
    """Which model becomes a Paddle Inference model, one folder a task."""

    model: Optional[str] = None  # model@stage; nothing is exported without it
    tasks: tuple[str, ...] = ()  # by default those of the model's stage
    parity_examples: int = 32
    tolerance: float = 1.0e-4


@dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    name: str
    models: Mapping[str, ModelConfig]
    stages: tuple[StageConfig, ...]
    output_dir: Optional[str] = None  # by default output/<name>
    seed: int = 42
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    export: ExportConfig = field(default_factory=ExportConfig)

    @property
    def folder(self) -> str:
        """Where the run is written."""
        return self.output_dir or f"output/{self.name}"

    def stage(self, name: str) -> StageConfig:
        return next(stage for stage in self.stages if stage.name == name)


def split_reference(reference: str) -> tuple[str, Optional[str]]:
    """(model, stage) of "model@stage"; the stage is None for a model as configured."""
    model, _, stage = reference.partition("@")
    return model, stage or None

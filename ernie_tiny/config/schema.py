"""Every key that a config file may have, as frozen dataclasses. The comments are the reference of the keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Optional, Union

from ernie_tiny.config.data import DataConfig
from ernie_tiny.config.results import ExportConfig, ReportConfig

CORPUS_LENGTH = 128  # tokens of an input of general text where a stage does not say
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")  # what may be changed of a pretrained model
LABEL_TERMS = ("hard", "mlm")  # read labels and no teacher
ANSWER_TERMS = ("hard", "soft", "logit_mse")  # read the logits of a task's head
NARROWING, IMPORTANCE = ("svd", "selection"), "importance"  # of ModelConfig.init_narrowed


@dataclass(frozen=True)
class RuntimeConfig:
    """How a run uses the machine, and what it shows and keeps."""

    device: str = "auto"  # auto, cpu, gpu, gpu:1, ...
    threads: int = 0  # CPU threads; 0 takes OMP_NUM_THREADS, or every core where that is unset
    precision: str = "float32"  # float32, float16 or bfloat16 (the last two on a GPU)
    teacher_engine: str = "dygraph"  # or paddle, onnx, openvino; auto: what is fastest at the first batch
    teacher_precision: str = "float32"  # or bfloat16: of a teacher on an engine; of auto the lowest that it may take
    sharding: str = "none"  # or optimizer: its states partitioned over the processes
    logging_steps: int = 20
    save_steps: int = 200  # optimizer steps between checkpoints within a stage; 0 writes none but on SIGTERM
    keep_checkpoints: int = 2
    visualdl: bool = True
    histograms: bool = False  # of weights and gradients, in VisualDL, at every logging step


@dataclass(frozen=True)
class TokenizerConfig:
    """The one vocabulary of a run. With neither key it is that of the first pretrained model."""

    vocab: Optional[str] = None  # a file or folder of a tokenizer, or a model's name
    build_from: Optional[str] = None  # name of a corpus to build a vocabulary from
    vocab_size: int = 8000  # of a vocabulary that is built


@dataclass(frozen=True)
class ModelConfig:
    """An encoder: by name or folder (pretrained), by a published shape's name, or by its numbers."""

    pretrained: Optional[str] = None  # local folder, PaddleNLP name, or owner/name on Hugging Face's hub
    family: str = "ernie"  # ernie, bert, roberta, electra or bilstm
    shape: Optional[str] = None  # base, medium, mini, micro, nano or pico
    num_hidden_layers: Optional[int] = None
    hidden_size: Optional[int] = None
    embedding_size: Optional[int] = None  # bilstm: width of the word embeddings; by default hidden_size
    num_attention_heads: Optional[int] = None
    head_size: Optional[int] = None  # of an attention head; by default hidden_size / num_attention_heads
    intermediate_size: Optional[int] = None
    max_position_embeddings: Optional[int] = None
    type_vocab_size: Optional[int] = None
    hidden_dropout_prob: Optional[float] = None
    attention_probs_dropout_prob: Optional[float] = None
    pooling: Optional[str] = None  # of a text's vectors, cls or mean; by default the pretrained model's, or cls
    init_from: Optional[str] = None  # model or model@stage whose layers and embeddings the model starts with
    init_layers: tuple[int, ...] = ()  # which of its layers, counted from 0; bilstm: none, word embeddings alone
    init_narrowed: Optional[str] = None  # svd or selection where it is wider; importance: its best heads and neurons


@dataclass(frozen=True)
class SamplingConfig:
    """How often each task is drawn in a multi-task stage."""

    strategy: str = "proportional"  # proportional, temperature, uniform or explicit
    exponent: float = 0.5  # temperature: p ~ examples ** exponent
    weights: Mapping[str, float] = field(default_factory=dict)  # explicit


@dataclass(frozen=True)
class AugmentConfig:
    """Copies of the training examples whose tokens a masked language model replaced (TinyBERT, algorithm 1)."""

    model: str  # whose head for masked tokens predicts: model@stage of a stage with mlm, or a pretrained folder's model
    copies: int = 5  # of each labelled example, beside itself; an epoch takes all of them
    probability: float = 0.4  # part of an example's tokens that is replaced
    candidates: int = 15  # a replacement is drawn from so many of the most probable tokens


@dataclass(frozen=True)
class StageDataConfig:
    """Tasks with their train splits, beside a teacher their unlabelled texts too; or one corpus."""

    tasks: tuple[str, ...] = ()
    corpus: Optional[str] = None
    max_length: Optional[int] = None  # tokens; by default the task's own, CORPUS_LENGTH for general text
    examples: Optional[int] = None  # draw so many of a task's labelled training examples
    unlabelled_examples: Optional[int] = None  # and so many of its unlabelled ones; 0 leaves them out
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    augment: Optional[AugmentConfig] = None

    @property
    def corpus_length(self) -> int:  # tokens of a row of general text
        return self.max_length or CORPUS_LENGTH


@dataclass(frozen=True)
class Term:
    """What every term of an objective has. The weight is constant unless one of the schedule's two keys is given."""

    weight: float = 1.0
    final_weight: Optional[float] = None  # linear: from weight at the first step to this behind the last
    warm_in: float = 0.0  # part of the stage's steps over which the weight rises from 0

    def weight_at(self, progress: float) -> float:
        """The weight when this part, 0 to 1, of the stage's steps is done."""
        final = self.weight if self.final_weight is None else self.final_weight
        rise = min(1.0, progress / self.warm_in) if self.warm_in else 1.0
        return rise * (self.weight + (final - self.weight) * progress)


@dataclass(frozen=True)
class HardTerm(Term):
    """Cross-entropy with the gold labels, for every kind of head: of a step's labelled examples alone."""


@dataclass(frozen=True)
class MlmTerm(Term):
    """Masked language modelling (BERT: 15 %, 80/10/10)."""

    probability: float = 0.15
    whole_words: bool = False


@dataclass(frozen=True)
class SoftTerm(Term):
    """KL to the teacher's softened answer, times temperature squared (Hinton et al., arXiv 1503.02531)."""

    temperature: float = 1.0


@dataclass(frozen=True)
class LogitTerm(Term):
    """Mean squared error to the teacher's logits (MKD's stand-in)."""


@dataclass(frozen=True)
class RelationTerm(Term):
    """Self-attention relations (MiniLMv2); pairs [vv] alone is MiniLM's value relation."""

    pairs: tuple[str, ...] = ("qq", "kk", "vv")
    relation_heads: int = 12
    teacher_layer: int = -1  # counted from 0, or from the end
    student_layer: int = -1


@dataclass(frozen=True)
class SampleRelationTerm(RelationTerm):
    """Relations between the inputs of a batch instead of the tokens of an input (PP-MiniLM)."""


@dataclass(frozen=True)
class AttentionTerm(Term):
    """Attention, layer by layer: mse of the scores before the softmax (TinyBERT), or kl after it (ERNIE 3.0 Titan)."""

    form: str = "mse"
    layers: tuple[str, ...] = ("uniform",)  # uniform, skip, last, top, or pairs "student:teacher" counted from 0
    heads: Optional[int] = None  # split both models into so many heads, where their own numbers differ


@dataclass(frozen=True)
class HiddenTerm(Term):
    """Outputs of the layers, through a learned projection to the teacher's width (TinyBERT)."""

    layers: tuple[str, ...] = ("uniform",)
    shared_projection: bool = False  # one for all layers instead of one a layer


@dataclass(frozen=True)
class EmbeddingTerm(Term):
    """Output of the embeddings, through a learned projection to the teacher's width (TinyBERT)."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """A weighted sum of terms; a term that is absent is not computed."""

    hard: Optional[HardTerm] = None
    mlm: Optional[MlmTerm] = None
    soft: Optional[SoftTerm] = None
    logit_mse: Optional[LogitTerm] = None
    relation: Optional[RelationTerm] = None
    sample_relation: Optional[SampleRelationTerm] = None
    attention: Optional[AttentionTerm] = None
    hidden: Optional[HiddenTerm] = None
    embedding: Optional[EmbeddingTerm] = None

    def terms(self) -> dict[str, Term]:
        """The terms that are present, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    @property
    def outline(self) -> str:
        """The terms with their weights, for people."""
        return " + ".join(f"{term.weight:g} {name}" for name, term in self.terms().items())

    @property
    def needs_teacher(self) -> bool:
        return any(name not in LABEL_TERMS for name in self.terms())

    @property
    def reads_answers(self) -> bool:
        """Whether the student's answers are trained, so that it needs the tasks' heads."""
        return any(name in ANSWER_TERMS for name in self.terms())


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear decay after a linear warm-up; no decay on biases and norms."""

    learning_rate: float = 5.0e-5
    max_steps: Optional[int] = None  # optimizer steps; or
    epochs: Optional[float] = None  # passes over the tasks' training examples, augmented copies included
    batch_size: Optional[int] = None  # examples (corpus: sequences) a batch, over all processes; or
    max_tokens: Optional[int] = None  # padded tokens a batch, over all processes, in length-bucketed batches
    accumulate: int = 1  # batches that make one optimizer step, as one large batch would
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1.0e-8

    def steps(self, epoch: float) -> int:
        """Optimizer steps of a stage whose epoch has so many batches; general text has no epochs."""
        if self.max_steps is not None:
            return self.max_steps
        assert self.epochs is not None
        return max(1, math.ceil(self.epochs * epoch / self.accumulate))


@dataclass(frozen=True)
class SelectConfig:
    """Scores on dev while training; the best weights are kept instead of the last when `every` is given."""

    every: Optional[int] = None  # optimizer steps between evaluations
    examples: Optional[int] = None  # draw so many of a task's dev examples


@dataclass(frozen=True)
class TaskSettings:
    """What a stage that runs per task does otherwise for one task."""

    learning_rate: Optional[float] = None
    epochs: Optional[float] = None
    batch_size: Optional[int] = None
    warmup_ratio: Optional[float] = None
    max_length: Optional[int] = None
    examples: Optional[int] = None
    unlabelled_examples: Optional[int] = None


@dataclass(frozen=True)
class CacheConfig:
    """The teacher's signals on disk, computed before the first step."""

    precision: str = "float16"  # or float32, with which training ends where it does with a live teacher
    folder: Optional[str] = None  # kept there, for other runs; by default in the stage's folder until it ends


@dataclass(frozen=True)
class AnswersConfig:
    """A teacher whose answers lie in files, whatever gave them: rows of JSON lines, TSV or CSV, one an example."""

    answers: str  # file relative to data.root; {task} in it stands for the task's name
    label_smoothing: Optional[float] = None  # of a row that has a label alone: what the other labels get together


@dataclass(frozen=True)
class StageConfig:
    """Trains one model, on some data, towards some objective, with or without a teacher."""

    name: str
    train: str  # model (as configured) or model@stage (the weights that it had when that stage ended)
    data: StageDataConfig
    objective: ObjectiveConfig
    teacher: Union[str, AnswersConfig, None] = None  # model or model@stage (per task that of a batch's task), or files
    ensemble: Mapping[str, float] = field(default_factory=dict)  # teachers in place of one, with their weights
    cache: Optional[CacheConfig] = None  # compute the teacher's signals once and keep them on disk
    per_task: bool = False  # run the stage once for each of its tasks
    skip: bool = False  # leave the stage out and link the next one to what it started from
    also_train: tuple[str, ...] = ()  # further models that learn from the same pass of the teacher
    auxiliary_layers: int = 0  # extra top layers of the trained model, dropped at the end (ERNIE 3.0 Titan, ALD)
    optim: OptimConfig = field(default_factory=OptimConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    task_settings: Mapping[str, TaskSettings] = field(default_factory=dict)  # by task, in a stage that runs per task
    seed: Optional[int] = None  # of initial weights, order and dropout; by default the run's
    taken_from: Optional[str] = None  # folder of the run that this stage was finished in; set by base_run

    @property
    def parts(self) -> tuple[Optional[str], ...]:
        """What it runs for, in turn: each of its tasks where it runs per task, else None for all of them at once."""
        return self.data.tasks if self.per_task else (None,)

    def tasks_of(self, part: Optional[str]) -> tuple[str, ...]:
        """The tasks of one of its parts."""
        return self.data.tasks if part is None else (part,)

    def title(self, task: Optional[str]) -> str:
        """The name of the stage, or of its part for a task."""
        return self.name if task is None else f"{self.name}/{task}"

    def of_task(self, task: Optional[str]) -> StageConfig:
        """The stage with the settings of one task."""
        settings = self.task_settings.get(task or "", TaskSettings())
        given = {key: value for key, value in vars(settings).items() if value is not None}
        data = replace(self.data, **{key: given.pop(key) for key in [*given] if hasattr(self.data, key)})
        return replace(self, data=data, optim=replace(self.optim, **given))

    @property
    def reads_unlabelled(self) -> bool:  # trains on unlabelled texts where a task has some: a term needs no label
        return self.data.corpus is None and self.objective.needs_teacher and self.data.unlabelled_examples != 0

    @property
    def trained(self) -> dict[str, str]:
        """The trained models' names, with the references that they start from."""
        return {split_reference(reference)[0]: reference for reference in (self.train, *self.also_train)}

    @property
    def teachers(self) -> Mapping[str, float]:
        """The references and weights of the teachers that are models; one, several or none."""
        return self.ensemble or ({self.teacher: 1.0} if isinstance(self.teacher, str) else {})

    @property
    def answers(self) -> Optional[AnswersConfig]:
        """The teacher, where it is files of answers."""
        return self.teacher if isinstance(self.teacher, AnswersConfig) else None

    @property
    def answer_files(self) -> dict[str, str]:
        """Task to the file of its recorded answers; empty where a model teaches, or nobody."""
        name = self.answers.answers if self.answers is not None else None
        return {task: name.replace("{task}", task) for task in self.data.tasks if name is not None}

    @property
    def taught_by(self) -> str:  # in words; "" for nobody
        return f"the answers in {self.answers.answers}" if self.answers is not None else ", ".join(self.teachers)


@dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    name: str
    models: Mapping[str, ModelConfig]
    stages: tuple[StageConfig, ...]
    output_dir: Optional[str] = None  # by default output/<name>
    base_run: Optional[str] = None  # folder of a finished run whose models, stages and vocabulary this one goes on from
    seed: int = 42
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    export: ExportConfig = field(default_factory=ExportConfig)

    @property
    def folder(self) -> str:  # where the run is written
        return self.output_dir or f"output/{self.name}"

    @property
    def vocabulary_source(self) -> Optional[str]:
        """Folder, file or name that the vocabulary comes from; None where it is built, or where there is none."""
        if self.base_run is not None:
            return f"{self.base_run}/tokenizer"
        named = self.tokenizer.vocab or next((one.pretrained for one in self.models.values() if one.pretrained), None)
        return named if self.tokenizer.build_from is None else None

    @property
    def own_stages(self) -> tuple[StageConfig, ...]:
        """The stages that this run trains itself; the others come from its base_run."""
        return tuple(stage for stage in self.stages if stage.taken_from is None)

    @property
    def corpora_read(self) -> list[str]:
        """The names of the general texts that this run's own stages or its vocabulary are made of."""
        named = [stage.data.corpus for stage in self.own_stages]
        return [name for name in self.data.corpora if name in (*named, self.tokenizer.build_from)]

    def stage(self, name: str) -> StageConfig:
        return next(stage for stage in self.stages if stage.name == name)

    def stage_of(self, reference: str) -> StageConfig:
        """The stage of model@stage."""
        return self.stage(reference.partition("@")[2])


def split_reference(reference: str) -> tuple[str, Optional[str]]:
    """(model, stage) of "model@stage"; the stage is None for a model as configured."""
    model, _, stage = reference.partition("@")
    return model, stage or None

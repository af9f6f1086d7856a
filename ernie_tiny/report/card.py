"""The card of an exported model, in Markdown, from the records of the run that it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Optional

from ernie_tiny.config.schema import RunConfig, StageConfig, split_reference
from ernie_tiny.data.clue import SUBMITTED
from ernie_tiny.data.fewclue import FEWCLUE
from ernie_tiny.data.glue import GLUE
from ernie_tiny.data.task import UNLABELLED, TaskSpec
from ernie_tiny.files import to_json
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.report.document import rendered
from ernie_tiny.report.results import ModelResult, Results
from ernie_tiny.report.tables import Table
from ernie_tiny.report.wording import label, number

PIPELINES: Mapping[str, str] = MappingProxyType(  # of transformers, by the head of a class
    {
        "SequenceClassification": "text-classification",
        "TokenClassification": "token-classification",
        "QuestionAnswering": "question-answering",
        "MultipleChoice": "multiple-choice",
    }
)
LICENCES = MappingProxyType(
    {  # of the sets whose makers state one; the words are about the data
        "ocnli": "CC BY-NC: no commercial use",
        "cmrc2018": "CC BY-SA: share alike",
    }
)


@dataclass(frozen=True)
class Gate:
    """What an export was compared with before it was written.

    Attributes:
        parity: Largest differences of the logits, "static" and "inference", on
        examples: so many inputs of dev, where at most
        tolerance: is allowed.
    """

    parity: Mapping[str, float]
    examples: int
    tolerance: float


@dataclass(frozen=True)
class Export:
    """What a card tells of one exported model.

    Attributes:
        run: Its config.
        reference: model@stage.
        spec: The task, with the input length that the model was trained with.
        parameters: Weights of the encoder.
        embedding_parameters: Of these, weights of the embeddings.
        results: The run's as far as they are known, or None.
        megabytes: Size of the network on disk.
        gate: What an export for Paddle Inference passed; None for a folder of transformers.
        transformers_head: Of that folder's class, as in AutoModelFor...
    """

    run: RunConfig
    reference: str
    spec: TaskSpec
    parameters: int
    embedding_parameters: int
    results: Optional[Results]
    megabytes: float
    gate: Optional[Gate] = None
    transformers_head: str = ""


def model_card(export: Export) -> str:
    """The card: what the model answers, its data, method, scores, limits, licences, and how to use it."""
    run, spec, results = export.run, export.spec, export.results
    stages = list(_lineage(run, export.reference, spec.name).values())
    models = [model for model in results.models if spec.name in model.scores] if results is not None else []
    kind = kind_named(spec.kind)
    return rendered(
        "card.md" if export.gate is not None else "card_transformers.md",
        export=export,
        run=run,
        spec=spec,
        stages=stages,
        kind=kind,
        method=_method(export, stages),
        unlabelled=[stage for stage in stages if _reads_unlabelled(run, stage)],
        met={split_reference(name)[0] for stage in stages for name in (*stage.trained, *stage.teachers)},
        scores=_scores(models, export),
        scored=export.reference in [model.reference for model in models],
        licences=_licences(run, export.reference, stages),
        line=to_json(kind.sample_input(spec)),
        pipeline=PIPELINES.get(export.transformers_head),
    )


def _lineage(run: RunConfig, reference: str, task: str) -> dict[str, StageConfig]:
    """The stages behind a model by name, first those of what it started from, was taught by and was augmented by."""
    model, stage_name = split_reference(reference)
    if stage_name is None:
        start = run.models[model].init_from if model in run.models else None
        return _lineage(run, start, task) if start is not None else {}
    stage = run.stage(stage_name)
    augment = [stage.data.augment.model] if stage.data.augment is not None else []
    found: dict[str, StageConfig] = {}
    for other in (*stage.teachers, *augment, stage.trained[model]):
        found.update(_lineage(run, other, task))
    return {**found, stage_name: stage.of_task(task if stage.per_task else None)}


def _reads_unlabelled(run: RunConfig, stage: StageConfig) -> bool:
    """Whether the stage trained on texts without labels, too."""
    own = [name for name, task in run.data.tasks.items() if UNLABELLED in (*task.files, *task.held_out)]
    return stage.reads_unlabelled and not {*own, *run.data.unlabelled}.isdisjoint(stage.data.tasks)


def _method(export: Export, stages: Sequence[StageConfig]) -> Table:
    """A row for each stage that led to the model."""
    rows = []
    for stage in stages:
        records = export.results.stages if export.results is not None else []
        own = [record for record in records if record.stage == stage.name and record.task in (None, export.spec.name)]
        tokens, seconds = sum(record.tokens for record in own), sum(record.seconds for record in own)
        costs = [number(tokens / 1e6, ",.2f"), number(seconds / 60)] if own else ["-", "-"]
        trained, teacher = ", ".join(stage.trained.values()), stage.taught_by or "none"
        rows.append([stage.name, trained, teacher, stage.objective.outline, *costs])
    return Table(["stage", "trains", "teacher", "objective", "tokens, M", "minutes"], [rows])


def _scores(models: Sequence[ModelResult], export: Export) -> Table:
    """The scores on the task of all models of the report that have some."""
    task = export.spec.name
    metrics = list(models[0].scores[task]) if models else []
    rows = []
    for model in models:
        own = " (this model)" if model.reference == export.reference else ""
        ends = {metric: model.spread(task, metric) for metric in metrics}
        shown = {metric: " [{:.2f}, {:.2f}]".format(*pair) if pair else "" for metric, pair in ends.items()}
        cells = [number(model.scores[task][metric], ".2f") + shown[metric] for metric in metrics]
        rows.append([f"{label(model.role)}, {model.reference}{own}", *cells])
    return Table(["model", *metrics], [rows])


def _licences(run: RunConfig, reference: str, stages: Sequence[StageConfig]) -> dict[str, str]:
    """Each set of data and each pretrained model behind a model to its licence; no legal advice, but where to look."""
    corpora = [stage.data.corpus for stage in stages if stage.data.corpus and not run.data.sample]
    augment = [stage.data.augment.model for stage in stages if stage.data.augment is not None]
    behind = [reference, *augment, *(name for stage in stages for name in (*stage.trained, *stage.teachers))]
    for name in behind:
        model = run.models.get(split_reference(name)[0])
        behind += [model.init_from] if model is not None and model.init_from and model.init_from not in behind else []
    names = {split_reference(name)[0] for name in behind}
    sources = [model.pretrained for name, model in run.models.items() if name in names and model.pretrained]
    return {
        **{task: _licence(task, run) for stage in stages for task in stage.data.tasks},
        **{f"general text `{name}`": "that of your files" for name in corpora},
        **{f"weights of {source}": "that of their publisher" for source in sources},
    }


def _licence(task: str, run: RunConfig) -> str:
    if run.data.sample:
        return "invented by the project, Apache-2.0"
    if task in run.data.tasks:
        return "your own data"
    if task in LICENCES:
        return LICENCES[task]
    benchmarks = (("CLUE", SUBMITTED), ("FewCLUE", FEWCLUE), ("GLUE", GLUE))
    benchmark = next(name for name, tasks in benchmarks if task in tasks)
    return f"see {benchmark}'s terms for this set; where they state none, treat it as for research only"

"""The card of an exported model, in Markdown, from the records of the run that it comes from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Optional

from ernie_tiny.config.schema import RunConfig, StageConfig, split_reference
from ernie_tiny.data.clue import CLUE
from ernie_tiny.data.fewclue import FEWCLUE
from ernie_tiny.data.glue import GLUE
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.report.charts import label, number
from ernie_tiny.report.runs import spread
from ernie_tiny.report.tables import markdown_lines

CARD_FILE = "README.md"
LICENCES = MappingProxyType(
    {  # of the sets whose makers state one; the words are about the data
        "ocnli": "CC BY-NC: no commercial use",
        "cmrc2018": "CC BY-SA: share alike",
    }
)
# Lines for tools/infer.py, of the kinds whose lines are no records of the task's own file.
INPUTS: dict[str, dict[str, Any]] = {
    "cloze": {"content": ["他做事一向#idiom000000#。"], "candidates": ["一丝不苟", "半途而废"]},
    "multiple_choice": {"context": "小明在看书。", "question": "小明在做什么？", "choice": ["看书", "跑步"]},
    "reading": {"context": "北京是中国的首都。", "question": "中国的首都是哪里？"},
}
ANSWERS = {"span": "a span of the text", "regression": "a number", "choice": "one of the candidates"}
COREFERENCE = {"span1_text": "小红", "span1_index": 6, "span2_text": "她", "span2_index": 9}
TEXT = "今年的粮食又是一个丰收年"


@dataclass(frozen=True)
class Export:
    """What a card tells of one exported model.

    Attributes:
        run: Its config.
        reference: model@stage.
        spec: The task, with the input length that the model was trained with.
        parameters: Weights of the encoder.
        embedding_parameters: Of these, weights of the embeddings.
        parity: Largest differences of the logits, "static" and "inference", on
        parity_examples: so many inputs of dev, where at most
        tolerance: is allowed.
        results: The content of results.json as far as it is known, or None.
        megabytes: Size of the network on disk.
    """

    run: RunConfig
    reference: str
    spec: TaskSpec
    parameters: int
    embedding_parameters: int
    parity: Mapping[str, float]
    parity_examples: int
    tolerance: float
    results: Optional[Mapping[str, Any]]
    megabytes: float


def model_card(export: Export) -> str:
    """The card: what the model answers, its data, method, scores, limits, licences, and how to use it."""
    spec = export.spec
    stages = list(_lineage(export.run, export.reference, spec.name).values())
    parts = (
        ("Data", _data_lines(export.run, stages)),
        ("Method", _method_lines(export, stages)),
        ("Scores", _score_lines(export)),
        ("Limits", [f"- {limit}" for limit in _limits(export, stages)]),
        ("Licences", _licence_lines(export.run, stages)),
        ("Use", _use_lines(spec)),
    )
    answers = f"one of {len(spec.labels)} labels" if spec.labels else ANSWERS[spec.head]
    weights, rest = export.parameters / 1e6, (export.parameters - export.embedding_parameters) / 1e6
    lines = [f"# {export.reference} of {export.run.name} for {spec.name}", ""]
    lines += [
        f"Answers {spec.name} ({spec.kind}: {answers}) from inputs of up to {spec.max_length} tokens. "
        f"{weights:.2f} M parameters ({rest:.2f} M without embeddings), {export.megabytes:.1f} MB, Paddle "
        "Inference. Written by the run that trained it.",
        "",
    ]
    for title, content in parts:
        lines += [f"## {title}", "", *content, ""]
    return "\n".join(lines).rstrip() + "\n"


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


def _data_lines(run: RunConfig, stages: Sequence[StageConfig]) -> list[str]:
    """What each stage read."""
    lines = []
    for stage in stages:
        source, corpus = f"train of {', '.join(stage.data.tasks)}", stage.data.corpus
        if corpus is not None:
            source = f"general text `{corpus}` ({', '.join(run.data.corpora[corpus].files)})"
        limit = f", the first {stage.data.examples:,} examples of a task" if stage.data.examples is not None else ""
        copies = f", {stage.data.augment.copies} augmented copies of each" if stage.data.augment is not None else ""
        lines.append(f"- {stage.name}: {source}{limit}{copies}")
    if run.data.sample:
        lines.append("- The data was invented by the project: its scores say nothing about real text.")
    return lines


def _method_lines(export: Export, stages: Sequence[StageConfig]) -> list[str]:
    """A row for each stage that led to the model."""
    costs: dict[str, tuple[float, float]] = {}
    for record in (export.results or {}).get("stages", ()):
        if record["task"] in (None, export.spec.name):
            tokens, seconds = costs.get(record["stage"], (0.0, 0.0))
            costs[record["stage"]] = tokens + record["tokens"], seconds + record["seconds"]
    rows = []
    for stage in stages:
        terms = " + ".join(f"{term.weight:g} {name}" for name, term in stage.objective.terms().items())
        tokens, seconds = costs.get(stage.name, (math.nan, math.nan))
        rows.append(
            [
                stage.name,
                ", ".join(stage.trained.values()),
                ", ".join(stage.teachers) or "none",
                terms,
                number(tokens / 1e6, ",.2f"),
                number(seconds / 60),
            ]
        )
    met = {split_reference(name)[0] for stage in stages for name in (*stage.trained, *stage.teachers)}
    starts = [
        f"`{name}` starts from {model.pretrained}."
        for name, model in export.run.models.items()
        if model.pretrained and name in met
    ]
    header = ["stage", "trains", "teacher", "objective", "tokens, M", "minutes"]
    return [*markdown_lines(header, rows), "", " ".join([f"Seed {export.run.seed}.", *starts])]


def _score_lines(export: Export) -> list[str]:
    """The task's scores of all models of the report, with split and number of examples, and the parity gate."""
    results, task, lines = export.results or {"models": []}, export.spec.name, []
    models = [model for model in results["models"] if task in model["scores"]]
    if models:
        metrics = list(models[0]["scores"][task])
        rows = [[_named(model, export.reference), *(_score(model, task, name) for name in metrics)] for model in models]
        lines += [
            f"On dev of {task}, {results['examples'][task]:,} examples, in percent, with 95 % bootstrap "
            "intervals over the examples:",
            "",
            *markdown_lines(["model", *metrics], rows),
            "",
        ]
        if task in results["majority"]:
            lines += [f"The most frequent label scores {results['majority'][task]:.2f}.", ""]
        if task in results["agreement"]:
            lines += [f"Student and teacher give the same answer to {results['agreement'][task]:.2f} % of them.", ""]
    if export.reference not in [model["reference"] for model in models]:
        lines += ["This model was not scored on this task by its run: use tools/evaluate.py.", ""]
    return [
        *lines,
        f"Export: on {export.parity_examples} inputs of dev the logits differ from those of the trained model by at "
        f"most {export.parity['inference']:.1e} (Paddle Inference) and {export.parity['static']:.1e} (static graph); "
        f"{export.tolerance:.0e} is allowed.",
    ]


def _named(model: Mapping[str, Any], reference: str) -> str:
    own = " (this model)" if model["reference"] == reference else ""
    return f"{label(model['role'])}, {model['reference']}{own}"


def _score(model: Mapping[str, Any], task: str, metric: str) -> str:
    ends = spread(model, task, metric)
    return number(model["scores"][task][metric], ".2f") + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")


def _limits(export: Export, stages: Sequence[StageConfig]) -> Iterator[str]:
    spec, last = export.spec, stages[-1]
    yield f"Inputs are cut to {spec.max_length} tokens; longer ones of reading are read in windows."
    yield "Scores are of one split and one seed; other texts, domains and times may give lower ones."
    if last.select.every is not None:
        yield "Dev also selected the weights, so that its score is optimistic. There is no score on test."
    else:
        yield "There is no score on test, whose labels the benchmark keeps."
    if export.run.report.examples is not None:
        yield f"Only the first {export.run.report.examples:,} dev examples were scored."
    yield "What teacher and data get wrong or prefer, the model may too; nobody has checked it for bias."


def _licence_lines(run: RunConfig, stages: Sequence[StageConfig]) -> list[str]:
    """A line for each set of data and each pretrained model; not legal advice, but where to look."""
    tasks = dict.fromkeys(task for stage in stages for task in stage.data.tasks)
    lines = [f"- {task}: {_licence(task, run)}" for task in tasks]
    corpora = dict.fromkeys(stage.data.corpus for stage in stages if stage.data.corpus)
    lines += [f"- general text `{name}`: that of your files" for name in corpora if not run.data.sample]
    sources = dict.fromkeys(model.pretrained for model in run.models.values() if model.pretrained)
    lines += [f"- weights of {source}: that of their publisher" for source in sources]
    return [*lines, "", "Weights trained on data may be bound by its licence. Ask before commercial use."]


def _licence(task: str, run: RunConfig) -> str:
    if run.data.sample:
        return "invented by the project, Apache-2.0"
    if task in run.data.tasks:
        return "your own data"
    if task in LICENCES:
        return LICENCES[task]
    benchmarks = (("CLUE", CLUE), ("FewCLUE", FEWCLUE), ("GLUE", GLUE))
    benchmark = next(name for name, tasks in benchmarks if task in tasks)
    return f"see {benchmark}'s terms for this set; where they state none, treat it as for research only"


def _use_lines(spec: TaskSpec) -> list[str]:
    """A line of the shell, and five of Python."""
    example: dict[str, Any] = {**INPUTS.get(spec.kind, dict.fromkeys(spec.texts, TEXT))}
    if spec.kind == "coreference":
        example = {spec.texts[0]: "小明把书给了小红，她很高兴。", "target": COREFERENCE}
    line = json.dumps(example, ensure_ascii=False)
    return [
        "```", f"echo '{line}' | python tools/infer.py --model THIS_FOLDER", "```", "", "```python",
        "from pathlib import Path", "from ernie_tiny.data.inputs import read_inputs",
        "from ernie_tiny.deploy.predictor import Predictor",
        'predictor = Predictor(Path("THIS_FOLDER"))',
        'print(predictor.predict(read_inputs(predictor.spec, Path("lines.jsonl"))))', "```",
    ]  # fmt: skip

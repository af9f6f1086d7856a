"""What a run will do, as text, without Paddle and without training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from ernie_tiny.config.schema import RunConfig, StageConfig, split_reference
from ernie_tiny.data.corpus import check_general_text, corpus_files
from ernie_tiny.data.sample import write_sample
from ernie_tiny.data.task import UNLABELLED, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.files import alone_at
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.read import missing_file
from ernie_tiny.runs.changes import changes_since
from ernie_tiny.runs.machine import check_machine
from ernie_tiny.runs.preflight import check_heads, check_lengths
from ernie_tiny.training.checkpoint import unfinished_stages
from ernie_tiny.training.flops import input_length, planned_shape, stage_flops, vocabulary_size
from ernie_tiny.training.size_guard import Size, size_warnings
from ernie_tiny.training.tasks import Examples, stage_answers, task_reader, task_specs, training_splits


def plan(run: RunConfig) -> str:
    """Models with parameter counts, tasks with example counts, stages with steps and estimated FLOPs.

    Counts come from the data where it lies below data.root; where it does not, the plan says so. FLOPs take
    every input at its full length, so they are an upper bound, and leave embeddings and heads out. Of epochs over texts
    that are cut into windows only the fewest steps are known. Recorded answers to data that is there are read.

    Raises:
        InputError: what is known to be wrong; also where the labelled data of a task is there and other files are not.
    """
    specs, root = task_specs(run), Path(run.data.root)
    check_machine(run)
    changes_since(run, Path(run.folder))
    check_lengths(run)
    check_heads(run)
    examples = task_reader(run, specs)
    counts = {name: _count(specs[name], root, examples) for name in specs}
    for stage in run.own_stages:
        for task in stage.answer_files:
            if counts[task] is not None:
                stage_answers(run, stage.of_task(task), specs[task], examples)
    lines = [f"run      {run.name}", f"folder   {run.folder}", f"seed     {run.seed}", ""]
    lines += ["models", *(_model_line(run, name) for name in run.models), ""]
    lines += ["tasks", *(_task_line(specs[name], counts[name]) for name in specs)] if specs else []
    lines += [_corpus_line(run, name) for name in run.corpora_read]
    lines += ["", "stages"]
    for stage in run.stages:
        lines += _stage_lines(run, stage, specs, counts)
    results = [f"{role} {reference}" for role, reference in run.report.models.items()]
    lines += ["", f"report   {', '.join(results) or 'none'}", f"export   {run.export.model or 'none'}"]
    return "\n".join(lines)


Counts = dict[str, int]  # split to its examples


def _count(spec: TaskSpec, root: Path, examples: Examples) -> Optional[Counts]:
    """Labelled and unlabelled training examples and dev ones, or None when the labelled data is not there."""
    files = [root / file for split in ("train", "dev") for file in spec.files_of(split)]
    if not files or not all(file.is_file() for file in files):
        return None
    splits = [*filter(spec.files_of, ("train", UNLABELLED)), "dev"]
    return {split: len(examples(spec.name, split, None)) for split in splits}


def _model_line(run: RunConfig, name: str) -> str:
    shape, model = planned_shape(run, name), run.models[name]
    if shape is None:
        return f"  {name:<10} {model.pretrained}: shape known once it is downloaded"
    origin = f", pretrained {model.pretrained}" if model.pretrained else ""
    if model.init_from:
        taken = f"layers {list(model.init_layers)}" if model.init_layers else "word embeddings"
        how = f", narrowed by {model.init_narrowed}" if model.init_narrowed else ""
        origin = f", {taken} of {model.init_from}{how}"
    size = (
        f"{shape.parameters / 1e6:.2f} M parameters ({shape.embedding_parameters / 1e6:.2f} M embeddings, "
        f"{shape.encoder_parameters / 1e6:.2f} M layers)"
    )
    if model.pretrained is None and run.vocabulary_source is not None and vocabulary_size(run) is None:
        size = f"{shape.encoder_parameters / 1e6:.2f} M parameters in its layers, its vocabulary once it is downloaded"
    return f"  {name:<10} {shape.outline}, {size}{origin}"


def _task_line(spec: TaskSpec, count: Optional[Counts]) -> str:
    found = "no data below data.root"
    if count is not None:
        found = ", ".join(f"{number:,} {split}" for split, number in count.items())
    labels = f", {len(spec.labels)} labels" if spec.labels else ""
    return f"  {spec.name:<12} {facts_of(spec.kind).name}{labels}, {spec.max_length} tokens: {found}"


def _corpus_line(run: RunConfig, name: str) -> str:
    try:
        files = corpus_files(Path(run.data.root), run.data.corpora[name].files, name)
    except InputError:
        return f"  {name:<12} general text: no data below data.root"
    size = sum(file.stat().st_size for file in files) / 1e6
    return f"  {name:<12} general text: {len(files)} files, {size:.1f} MB"


def _stage_lines(
    run: RunConfig, stage: StageConfig, specs: dict[str, TaskSpec], counts: dict[str, Optional[Counts]]
) -> list[str]:
    teacher = f" from {stage.taught_by}" if stage.taught_by else ""
    head = f"  {stage.name}: trains {', '.join(stage.trained.values())}{teacher}, {stage.objective.outline}"
    augment = stage.data.augment
    if augment is not None:
        head += f", on {augment.copies} more copies of each example by {augment.model}"
    lines = [head + (", once a task" if stage.per_task else "")]
    for each in stage.parts:
        part, group = stage.of_task(each), stage.tasks_of(each)
        source = ", ".join(group) if part.data.corpus is None else f"{part.data.corpus} text"
        trained = [_trained(part, specs[task], counts[task]) for task in group]
        totals = {split: sum(count.get(split, 0) for count in trained if count) for split in ("train", UNLABELLED)}
        if totals[UNLABELLED]:
            source += f" ({' + '.join(f'{total:,} {split}' for split, total in totals.items() if total)})"
        steps = _steps(part, trained)
        length = input_length(part, [specs[task] for task in group])
        tokens = (part.optim.max_tokens or (part.optim.batch_size or 0) * length) * part.optim.accumulate
        flops = stage_flops(run, part, [specs[task] for task in group], tokens)
        # An example of such a kind has as many features as its text has windows, which only its tokens tell.
        windows = part.optim.max_steps is None and any(facts_of(specs[task].kind).in_windows for task in group)
        cost, least = "", "at least " if windows else ""
        if steps is not None and flops is not None and not windows:
            cost = f", at most {flops * steps:.2e} FLOPs"
        shown = f"{least}{steps:,} steps" if steps is not None else f"{part.optim.epochs:g} epochs"
        lines.append(f"    {source}: {shown}{cost}")
    return [*lines, *(f"    warning: {warning}" for warning in _size_warnings(run, stage))]


def _size_warnings(run: RunConfig, stage: StageConfig) -> Iterator[str]:
    """What there is to say of the stage's sizes as far as the shapes are known."""
    sizes: list[dict[str, Size]] = []
    for references in (stage.trained, {reference: reference for reference in stage.teachers}):
        shapes = {name: planned_shape(run, split_reference(reference)[0]) for name, reference in references.items()}
        if None in shapes.values():
            return
        sizes.append(
            {
                name: Size(shape.embedding_parameters, shape.parameters - shape.embedding_parameters)
                for name, shape in shapes.items()
                if shape is not None
            }
        )
    yield from size_warnings(stage.name, *sizes)


def _trained(stage: StageConfig, spec: TaskSpec, count: Optional[Counts]) -> Optional[Counts]:
    """The examples of a task that a stage takes of each split that it trains on; None without data."""
    if count is None:
        return None
    return {split: min(count[split], limit or count[split]) for split, limit in training_splits(stage, spec)}


def _steps(stage: StageConfig, counts: list[Optional[Counts]]) -> Optional[int]:
    """Optimizer steps at a feature an example, or None when they depend on a token budget or data that is not there."""
    optim = stage.optim
    if optim.max_steps is not None:
        return optim.max_steps
    if optim.batch_size is None or any(count is None for count in counts):
        return None
    copies = 0 if stage.data.augment is None else stage.data.augment.copies
    batches = sum(
        math.ceil(((1 + copies) * count.get("train", 0) + count.get(UNLABELLED, 0)) / optim.batch_size)
        for count in counts
        if count
    )
    return optim.steps(batches)


def ready_data(run: RunConfig) -> None:
    """Writes the project's own sample where the run asks for it, and checks the data.

    Raises:
        InputError: as check_data.
    """
    root = Path(run.data.root)
    if run.data.sample:
        with alone_at(root / "sample"):  # other runs may have the same root
            write_sample(root)
    check_data(run)


def check_data(run: RunConfig) -> None:
    """Raises an InputError for the first file of a task that is not there, or of a corpus that is not or is no text.

    General text that only finished stages have read may be gone.
    """
    root = Path(run.data.root)
    for spec in task_specs(run).values():
        for split in ("train", UNLABELLED, "dev"):
            for file in spec.files_of(split):
                if not (root / file).is_file():
                    raise missing_file(spec, root, split, file)
    for stage in run.own_stages:
        for file in stage.answer_files.values():
            if not (root / file).is_file():
                raise InputError(
                    f"stages.{stage.name}.teacher.answers: {root / file} is not there. Its place is relative to "
                    "data.root."
                )
    texts = [stage.data.corpus for stage in unfinished_stages(run)]
    if not (Path(run.folder) / "tokenizer").is_dir():
        texts.append(run.tokenizer.build_from)
    for name in (name for name in run.data.corpora if name in texts):
        corpus = run.data.corpora[name]
        check_general_text(corpus_files(root, corpus.files, f"data.corpora.{name}.files"), corpus.field)

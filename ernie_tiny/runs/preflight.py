"""What can be known before the first step: a fault that a later stage would meet is found while nothing is lost.

Paddle is not needed: tools/doctor.py looks at the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, Optional

from ernie_tiny.config.schema import IMPORTANCE, RunConfig, StageConfig, split_reference
from ernie_tiny.config.shapes import planned_positions
from ernie_tiny.data.task import UNLABELLED, Example, TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer, load_tokenizer, vocabulary_file
from ernie_tiny.errors import InputError
from ernie_tiny.family_facts import FACTS
from ernie_tiny.kind_facts import HEADS_FILE
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.forms import read_heads, require_head
from ernie_tiny.training.flops import input_length
from ernie_tiny.training.shared_vocabulary import compare_vocabulary
from ernie_tiny.training.tasks import Examples, report_tasks, stage_answers, task_specs, training_splits

FEW = 5  # labels that a warning names
logger = logging.getLogger(__name__)


def check_run(run: RunConfig, examples: Examples, tokenizer: Callable[[], Tokenizer]) -> None:
    """Reads what all stages will read, warns of dev examples that are trained on, and compares models with data.

    Args:
        examples: Reads a task's split; whoever gives it keeps what was read, so that no file is read twice.
        tokenizer: Gives the run's tokenizer; called only if a model brings a vocabulary along.
    Raises:
        InputError: the first fault of a data file; inputs longer than a model's positions; a pretrained model with
            another vocabulary, or with a head for other labels; a teacher without a head for a task.
    """
    check_lengths(run)
    check_heads(run)
    for warning in read_data(run, examples):  # first: the tokenizer is the first thing that a run keeps
        logger.warning("%s", warning)
    if any(_has_vocabulary(model.pretrained) for model in run.models.values()):
        check_vocabularies(run, tokenizer())


def read_data(run: RunConfig, examples: Examples) -> Iterator[str]:
    """Reads every split that the run needs; yields a sentence for each that lacks labels or texts or shares examples.

    Unlabelled texts may lack labels, and no label of a dev example is learnt from them.
    """
    specs = task_specs(run)
    wanted = list(dict.fromkeys(_splits(run)))
    found = {key: examples(*key) for key in wanted}
    for task, split, limit in dict.fromkeys(_learned_and_scored(run)):
        read = found[task, split, limit]
        empty = sum(_lacks_text(specs[task], example) for example in read)
        if empty:
            told = f"{empty:,} of {len(read):,} examples of {split} have an empty text"
            yield f"{task}: {told}. Mend the files, or the fields."
        if split == UNLABELLED:
            continue
        warning = _label_warning(specs[task], split, read, limit)
        if warning is not None:
            yield warning
    for stage in run.own_stages:
        for task in stage.answer_files:
            stage_answers(run, stage.of_task(task), specs[task], examples)
    for task in specs:
        dev = max((found[key] for key in wanted if key[:2] == (task, "dev")), key=len, default=())
        for split, effect in (("train", "scores on dev are too high"), (UNLABELLED, "dev measures no new texts")):
            trained = {_inputs(example) for key in wanted if key[:2] == (task, split) for example in found[key]}
            shared = [_inputs(example) for example in dev if _inputs(example) in trained]
            if shared:
                yield (
                    f"{task}: {len(shared):,} of {len(dev):,} dev examples ({len(set(shared)):,} different inputs) "
                    f"stand in {split} too, so that {effect}. Take them out of {split} where the data is yours."
                )


def _lacks_text(spec: TaskSpec, example: Example) -> bool:
    """Whether a field is empty that the task names; of other kinds all texts, as one beside a blank may be empty."""
    present = [bool(text.strip()) for text in example.texts]
    return bool(present) and not (all(present) if spec.texts else any(present))


def _label_warning(spec: TaskSpec, split: str, examples: Sequence[Example], limit: Optional[int]) -> Optional[str]:
    """What is to be said of a set that lacks labels of its task or is of one label, if anything."""
    label_names = kind_named(spec.kind).label_names
    different = {label_names(spec, example) for example in examples}
    present = {name for names in different for name in names}
    missing = [name for name in spec.labels if name not in present]
    alike = ", ".join(*different) if len(different) == 1 and (missing or not spec.labels) else ""
    if not missing and not alike:
        return None
    asked = f", drawn by examples = {limit:,}," if limit is not None and limit <= len(examples) else ""
    if alike:
        rest = f"are all labelled {alike!r}: they teach and judge nothing."
    else:
        named = ", ".join(missing[:FEW]) + (f" and {len(missing) - FEW} more" if len(missing) > FEW else "")
        rest = f"have no row labelled {named}."
    way_out = "Ask for more" if asked else "Mend the files or the labels"
    return f"{spec.name}: the {len(examples):,} examples of {split}{asked} {rest} {way_out}."


def _learned_and_scored(run: RunConfig) -> Iterator[tuple[str, str, Optional[int]]]:
    """Task, split and number of examples of all that training, selection and report read."""
    specs = task_specs(run)
    for stage in run.own_stages:
        for task in stage.data.tasks:
            yield from ((task, *split) for split in training_splits(stage.of_task(task), specs[task]))
            if stage.select.every is not None:
                yield task, "dev", stage.select.examples
    for task in report_tasks(run):
        yield task, "dev", run.report.examples


def _splits(run: RunConfig) -> Iterator[tuple[str, str, Optional[int]]]:
    """The same, and what export reads."""
    yield from _learned_and_scored(run)
    if run.export.model is not None:
        for task in run.export.tasks or run.stage_of(run.export.model).data.tasks:
            yield task, "dev", run.export.parity_examples


def _inputs(example: Example) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return example.texts, example.candidates


def check_lengths(run: RunConfig) -> None:
    """Raises an InputError for the first stage whose inputs are longer than a model of known shape has positions."""
    specs, pad_id = task_specs(run), _padding(run)
    for stage in run.stages:
        parts = [(stage.of_task(task), [specs[task]]) for task in stage.data.tasks] or [(stage, [])]
        longest = max(input_length(*part) for part in parts)
        augmenting = [] if stage.data.augment is None else [stage.data.augment.model]
        for reference in (*stage.trained.values(), *stage.teachers, *augmenting):
            name = split_reference(reference)[0]
            room = planned_positions(run.models[name], pad_id)
            if room is not None and longest > room:
                raise InputError(
                    f"stages.{stage.name}.data.max_length: inputs of {longest} tokens do not fit the {room} positions "
                    f"of {name}. Set it to {room} or less, or raise models.{name}.max_position_embeddings."
                )


def _padding(run: RunConfig) -> int:
    """The id of the run's padding token, where its vocabulary is on this machine; 0, as in one that is built, else."""
    source = run.vocabulary_source
    behind = [model for model in run.models.values() if FACTS[model.family].positions_behind_padding]
    return load_tokenizer(Path(str(source))).pad_id if behind and _has_vocabulary(source) else 0


def check_heads(run: RunConfig) -> None:
    """Raises an InputError for the first head that a stage needs and its teacher lacks, or that has other labels.

    Labels are compared with their order: it is that of the logits.
    """
    specs = task_specs(run)
    for stage in run.stages:
        references = (*stage.trained.values(), *stage.teachers)
        for name in dict.fromkeys(split_reference(reference)[0] for reference in references):
            heads = _labels_of_heads(run, name)
            for task in stage.data.tasks:
                if task in heads and heads[task] != specs[task].labels and stage.objective.reads_answers:
                    raise InputError(_other_labels(stage, name, run.models[name].pretrained, heads[task], specs[task]))
        if stage.objective.soft is not None or stage.objective.logit_mse is not None:
            for reference in stage.teachers:
                for task in stage.data.tasks:
                    require_head(task, _tasks_answered(run, reference), f"stages.{stage.name}: teacher {reference}")


def _tasks_answered(run: RunConfig, reference: str) -> list[str]:
    """The tasks that model@stage, or a model as configured, has a head for."""
    name, stage_name = split_reference(reference)
    if stage_name is not None:
        stage = run.stage(stage_name)
        learned = stage.data.tasks if stage.objective.reads_answers else ()
        return [*_tasks_answered(run, stage.trained[name]), *learned]
    model = run.models[name]
    if model.init_from is not None and model.init_narrowed == IMPORTANCE:
        return _tasks_answered(run, model.init_from)
    return [*_labels_of_heads(run, name)]


def _other_labels(
    stage: StageConfig, name: str, pretrained: Optional[str], labels: tuple[str, ...], spec: TaskSpec
) -> str:
    same = set(labels) == set(spec.labels)
    return (
        f"stages.{stage.name}: {name} ({pretrained}) answers {spec.name} with the labels {list(labels)}, the data has "
        f"{list(spec.labels)}"
        + (": the same in another order. " if same else ". ")
        + f"Labels are compared by their place: give data.tasks.{spec.name}.labels as the model has them, or take "
        "another model."
    )


def _labels_of_heads(run: RunConfig, name: str) -> dict[str, tuple[str, ...]]:
    """Task to labels of the heads that a pretrained model brings along; only a folder of this project's has any."""
    pretrained = run.models[name].pretrained
    file = Path(pretrained or "") / HEADS_FILE
    if pretrained is None or not file.is_file():
        return {}
    try:
        return {head.task: head.labels for head in read_heads(file)[0]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: is damaged ({error}). Copy the model's folder again.") from error


def check_vocabularies(run: RunConfig, tokenizer: Tokenizer) -> None:
    """Raises an InputError for the first pretrained folder whose vocabulary is not the run's; warns of other rules.

    A model that is given by name is compared when it is loaded (Workspace.model).
    """
    for name, model in run.models.items():
        if not _has_vocabulary(model.pretrained):
            continue
        compare_vocabulary(name, str(model.pretrained), load_tokenizer(Path(str(model.pretrained))), tokenizer)


def _has_vocabulary(place: Optional[str]) -> bool:
    return place is not None and vocabulary_file(Path(place)) is not None

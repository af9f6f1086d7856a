"""What must hold between the keys of a config, checked before anything is built or read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Optional

from ernie_tiny.config.schema import DROPOUTS, RelationTerm, RunConfig, StageConfig, split_reference
from ernie_tiny.config.shapes import SHAPES, EncoderShape, shape_of
from ernie_tiny.errors import InputError, offer

Fault = Callable[[str, str], InputError]

CHOICES = {
    "runtime.precision": ("float32", "float16", "bfloat16"),
    "family": ("ernie", "bert", "roberta"),
    "sampling.strategy": ("proportional", "temperature", "uniform", "explicit"),
    "pairs": ("qq", "kk", "vv"),
}

# Numbers that must be above 0 in whichever block they stand.
ABOVE_ZERO = {
    *("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings"),
    *("type_vocab_size", "vocab_size", "weight", "relation_heads", "probability", "max_length", "examples", "every"),
    *("learning_rate", "max_steps", "epochs", "batch_size", "max_tokens", "accumulate"),
    *("logging_steps", "keep_checkpoints", "batch_tokens", "parity_examples", "tolerance"),
}


def check(run: RunConfig, fault: Fault) -> RunConfig:
    """The run without its skipped stages, or an InputError for the first thing that cannot work."""
    _check_numbers(run, "", fault)
    _check_choice(run.runtime.precision, "runtime.precision", "runtime.precision", fault)
    _check_models(run, fault)
    if not run.stages:
        raise fault("stages", "is empty: a run is a list of stages.")
    names = [stage.name for stage in run.stages]
    for name in names:
        if names.count(name) > 1:
            raise fault(f"stages.{name}", "stands twice: stage names are unique.")
        if not name or set("@/. ") & set(name):
            raise fault(f"stages.{name}", "may hold no '@', '/', '.' or space.")
    skipped = [stage.name for stage in run.stages if stage.skip]
    if skipped == names:
        raise fault("stages", "are all skipped: nothing is left to run.")
    run = _unlink_skipped(run)
    for position, stage in enumerate(run.stages):
        _check_stage(run, stage, run.stages[:position], fault)
    _check_results(run, skipped, fault)
    return run


def _check_numbers(block: Any, key: str, fault: Fault) -> None:
    """Goes through all blocks below one: dataclasses, mappings and tuples of them."""
    children: Iterable[tuple[Any, Any]] = ()
    if dataclasses.is_dataclass(block):
        children = [(item.name, getattr(block, item.name)) for item in dataclasses.fields(block)]
    elif isinstance(block, Mapping):
        children = block.items()
    elif isinstance(block, tuple):
        children = [(getattr(item, "name", index), item) for index, item in enumerate(block)]
    for name, value in children:
        dotted = f"{key}.{name}" if key else name
        if name in ABOVE_ZERO and isinstance(value, (int, float)) and not 0 < value < math.inf:
            raise fault(dotted, f"= {value}: must be above 0.")
        _check_numbers(value, dotted, fault)


def _check_choice(value: str, choices: str, key: str, fault: Fault) -> None:
    if value not in CHOICES[choices]:
        raise fault(key, f"= {value!r}: {offer(value, CHOICES[choices])}")


def _check_models(run: RunConfig, fault: Fault) -> None:
    for name, model in run.models.items():
        key = f"models.{name}"
        _check_choice(model.family, "family", f"{key}.family", fault)
        if model.shape is not None and model.shape not in SHAPES:
            raise fault(f"{key}.shape", f"= {model.shape!r}: {offer(model.shape, SHAPES)}")
        if model.pretrained is not None:
            for number in ("shape", *(f.name for f in dataclasses.fields(EncoderShape) if f.name not in DROPOUTS)):
                if getattr(model, number, None) is not None:
                    raise fault(f"{key}.{number}", f"cannot be given: {model.pretrained} is pretrained and sets it.")
        try:
            shape = shape_of(model)
        except KeyError as missing:
            raise fault(key, f"needs {missing.args[0]}, or a `shape` or `pretrained` that sets it.") from None
        except (ValueError, TypeError) as error:
            raise fault(
                f"{key}.pretrained", f"= {model.pretrained!r}: its config.json is no encoder's: {error}"
            ) from None
        if shape is not None and shape.hidden_size % shape.num_attention_heads:
            heads = [n for n in _divisors(shape.hidden_size) if n <= 32]
            raise fault(
                f"{key}.num_attention_heads",
                f"= {shape.num_attention_heads} does not divide hidden_size {shape.hidden_size}. "
                f"Numbers of heads that divide {shape.hidden_size}: {_listed(heads)}; widths near it that "
                f"{shape.num_attention_heads} divides: {_multiples_near(shape)}.",
            )
        if model.init_from is not None and not model.init_layers:
            raise fault(f"{key}.init_layers", "is missing: name the layers of init_from, as in [0, 2, 4].")


def _multiples_near(shape: EncoderShape) -> str:
    heads = shape.num_attention_heads
    below = shape.hidden_size - shape.hidden_size % heads
    return _listed([width for width in (below, below + heads) if width])


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _unlink_skipped(run: RunConfig) -> RunConfig:
    """Skipped stages taken out; a reference to one becomes a reference to what it would have started from."""
    links: dict[str, str] = {}
    for stage in run.stages:
        if stage.skip:
            links[f"{split_reference(stage.train)[0]}@{stage.name}"] = links.get(stage.train, stage.train)

    stages = tuple(
        dataclasses.replace(
            stage,
            train=links.get(stage.train, stage.train),
            teacher=stage.teacher and links.get(stage.teacher, stage.teacher),
        )
        for stage in run.stages
        if not stage.skip
    )
    models = {
        name: dataclasses.replace(model, init_from=model.init_from and links.get(model.init_from, model.init_from))
        for name, model in run.models.items()
    }
    return dataclasses.replace(run, models=models, stages=stages)


def _check_stage(run: RunConfig, stage: StageConfig, before: tuple[StageConfig, ...], fault: Fault) -> None:
    key = f"stages.{stage.name}"
    _check_reference(run, stage.train, f"{key}.train", before, fault, stage)
    if stage.teacher is not None:
        _check_reference(run, stage.teacher, f"{key}.teacher", before, fault, stage)
    _check_stage_data(run, stage, key, fault)
    _check_objective(run, stage, key, fault)
    _check_optim(stage, key, fault)


def _check_reference(
    run: RunConfig,
    reference: str,
    key: str,
    before: tuple[StageConfig, ...],
    fault: Fault,
    user: Optional[StageConfig] = None,
    above: tuple[str, ...] = (),
) -> None:
    """`above`: models whose init_from led to this reference."""
    model, stage_name = split_reference(reference)
    if model not in run.models:
        raise fault(key, f"= {reference!r}: there is no model {model!r}. {offer(model, run.models)}")
    if stage_name is None:
        source_of_layers = run.models[model].init_from
        if model in above:
            raise fault(key, f"= {reference!r} goes round in a circle: {' -> '.join((*above, model))}.")
        if source_of_layers is not None:
            where = f"models.{model}.init_from"
            _check_reference(run, source_of_layers, where, before, fault, user, (*above, model))
            _check_init_layers(run, model, split_reference(source_of_layers)[0], fault)
        return
    stages = {stage.name: stage for stage in before if split_reference(stage.train)[0] == model}
    if stage_name not in stages:
        raise fault(
            key,
            f"= {reference!r}: no stage before this one is named {stage_name!r} and trains {model!r}. "
            f"{offer(stage_name, stages)}",
        )
    source = stages[stage_name]
    if source.per_task and user is not None:
        absent = [] if not user.per_task else [task for task in user.data.tasks if task not in source.data.tasks]
        if not user.per_task:
            raise fault(key, f"= {reference!r} has one set of weights a task; set per_task: true here too.")
        if absent:
            raise fault(key, f"= {reference!r} was not trained on {', '.join(absent)}.")


def _check_init_layers(run: RunConfig, name: str, source: str, fault: Fault) -> None:
    key, layers = f"models.{name}.init_layers", list(run.models[name].init_layers)
    own, other = shape_of(run.models[name]), shape_of(run.models[source])
    if own is not None and len(layers) > own.num_hidden_layers:
        raise fault(key, f"= {layers}: {name} has room for {own.num_hidden_layers} layers.")
    if other is not None and not all(0 <= layer < other.num_hidden_layers for layer in layers):
        raise fault(key, f"= {layers}: {source} has the layers 0 to {other.num_hidden_layers - 1}.")


def _check_stage_data(run: RunConfig, stage: StageConfig, key: str, fault: Fault) -> None:
    data = stage.data
    if bool(data.tasks) and data.corpus is not None and not stage.per_task:
        raise fault(f"{key}.data", "has tasks and a corpus: a stage learns from one of them (both only per task).")
    if not data.tasks and data.corpus is None:
        raise fault(f"{key}.data", "has neither tasks nor a corpus.")
    if data.corpus is not None and data.corpus not in run.data.corpora:
        raise fault(f"{key}.data.corpus", f"= {data.corpus!r}: {offer(data.corpus, run.data.corpora)}")
    if stage.per_task and not data.tasks:
        raise fault(f"{key}.per_task", "is true, but data.tasks is empty.")
    _check_choice(data.sampling.strategy, "sampling.strategy", f"{key}.data.sampling.strategy", fault)
    for task in data.sampling.weights:
        if task not in data.tasks:
            raise fault(f"{key}.data.sampling.weights.{task}", f"is no task of the stage. {offer(task, data.tasks)}")


def _check_objective(run: RunConfig, stage: StageConfig, key: str, fault: Fault) -> None:
    objective, where = stage.objective, f"{key}.objective"
    if not objective.terms():
        raise fault(where, "is empty: name at least one term, as in {hard: {weight: 1.0}}.")
    if objective.needs_teacher and stage.teacher is None:
        raise fault(f"{key}.teacher", "is missing: the objective compares the student with a teacher.")
    if stage.teacher is not None and not objective.needs_teacher:
        raise fault(f"{key}.teacher", f"= {stage.teacher!r}, but no term of the objective uses a teacher.")
    on_corpus = stage.data.corpus is not None
    if objective.hard is not None and on_corpus:
        raise fault(f"{where}.hard", "needs labels; a corpus has none. Use mlm, or a term with a teacher.")
    if objective.mlm is not None and not on_corpus:
        raise fault(f"{where}.mlm", "is for general text; name a data.corpus.")
    if objective.mlm is not None and objective.relation is not None:
        raise fault(f"{where}.mlm", "masks the input, so it cannot stand beside relation, which reads it whole.")
    if objective.relation is not None:
        _check_relation(run, stage, objective.relation, f"{where}.relation", fault)


def _check_relation(run: RunConfig, stage: StageConfig, term: RelationTerm, key: str, fault: Fault) -> None:
    if not term.pairs:
        raise fault(f"{key}.pairs", f"is empty. Valid: {', '.join(CHOICES['pairs'])}.")
    for pair in term.pairs:
        _check_choice(pair, "pairs", f"{key}.pairs", fault)
    assert stage.teacher is not None
    sides = {"teacher": split_reference(stage.teacher)[0], "student": split_reference(stage.train)[0]}
    shapes = {side: shape_of(run.models[name]) for side, name in sides.items()}
    known = {side: shape for side, shape in shapes.items() if shape is not None}
    for side, shape in known.items():
        if shape.hidden_size % term.relation_heads:
            common = [
                n for n in _divisors(shape.hidden_size) if all(s.hidden_size % n == 0 for s in known.values())
            ]
            widths = " and ".join(str(s.hidden_size) for s in known.values())
            raise fault(
                f"{key}.relation_heads",
                f"= {term.relation_heads} does not divide the {side}'s hidden_size {shape.hidden_size}. "
                f"Heads that divide {widths}: {_listed(common)}.",
            )
        layer = term.teacher_layer if side == "teacher" else term.student_layer
        layers = shape.num_hidden_layers + (stage.auxiliary_layers if side == "student" else 0)
        if not -layers <= layer < layers:
            raise fault(f"{key}.{side}_layer", f"= {layer}: the {side} has the layers 0 to {layers - 1}.")


def _check_optim(stage: StageConfig, key: str, fault: Fault) -> None:
    optim, where = stage.optim, f"{key}.optim"
    if (optim.max_steps is None) == (optim.epochs is None):
        raise fault(where, "needs max_steps or epochs, and not both.")
    if (optim.batch_size is None) == (optim.max_tokens is None):
        raise fault(where, "needs batch_size or max_tokens, and not both.")
    if optim.epochs is not None and stage.data.corpus is not None:
        raise fault(f"{where}.epochs", "is for tasks; give max_steps for a corpus.")
    if not 0 <= optim.warmup_ratio <= 1:
        raise fault(f"{where}.warmup_ratio", f"= {optim.warmup_ratio}: must lie between 0 and 1.")


def _check_results(run: RunConfig, skipped: list[str], fault: Fault) -> None:
    for side in ("teacher", "student", "baseline"):
        reference = getattr(run.report, side)
        if reference is not None:
            _check_final(run, reference, f"report.{side}", run.report.tasks, skipped, fault)
    if run.export.model is not None:
        _check_final(run, run.export.model, "export.model", run.export.tasks, skipped, fault)


def _check_final(
    run: RunConfig, reference: str, key: str, tasks: tuple[str, ...], skipped: list[str], fault: Fault
) -> None:
    stage_name = split_reference(reference)[1]
    if stage_name in skipped:
        raise fault(key, f"= {reference!r}: that stage is skipped. Set {key} to null or to another stage's model.")
    _check_reference(run, reference, key, run.stages, fault)
    if stage_name is None:
        raise fault(key, f"= {reference!r}: name the stage too, as in {reference}@{run.stages[-1].name}.")
    stage = run.stage(stage_name)
    if stage.objective.hard is None:
        raise fault(key, f"= {reference!r}: that stage trains no head on labels, so it has no scores.")
    for task in tasks:
        if task not in stage.data.tasks:
            raise fault(f"{key.split('.')[0]}.tasks", f"holds {task!r}, which {reference} has not learned. "
                        f"{offer(task, stage.data.tasks)}")

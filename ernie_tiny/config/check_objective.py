"""What must hold between an objective, its student, its teacher and the data."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd
from typing import Callable

from ernie_tiny.config.layer_map import layer_map
from ernie_tiny.config.schema import (
    ANSWER_TERMS,
    IMPORTANCE,
    NARROWING,
    AttentionTerm,
    RelationTerm,
    RunConfig,
    StageConfig,
    split_reference,
)
from ernie_tiny.config.shapes import EncoderShape, shape_of
from ernie_tiny.engine_facts import FACTS as ENGINES
from ernie_tiny.engine_facts import PRECISIONS
from ernie_tiny.errors import InputError, offer
from ernie_tiny.family_facts import FACTS, FIRST_TOKEN, MEAN

Fault = Callable[[str, str], InputError]
Sides = dict[str, tuple[EncoderShape, int]]  # "student" and "teacher" to shape and number of layers

EXPLICIT = "explicit"  # of sampling.strategy: by weights that are given
CHOICES = {
    "runtime.precision": ("float32", "float16", "bfloat16"),
    "runtime.teacher_engine": ("dygraph", *ENGINES, "auto"),
    "runtime.teacher_precision": ("float32", "bfloat16"),
    "runtime.sharding": ("none", "optimizer"),
    "family": tuple(FACTS),
    "export.engines": tuple(ENGINES),
    "export.precisions": PRECISIONS,
    "export.int8": ("dynamic", "static"),
    "pooling": (FIRST_TOKEN, MEAN),
    "init_narrowed": (*NARROWING, IMPORTANCE),
    "sampling.strategy": ("proportional", "temperature", "uniform", EXPLICIT),
    "pairs": ("qq", "kk", "vv"),
    "form": ("mse", "kl"),
    "cache.precision": ("float16", "float32"),
}


def check_choice(value: str, choices: str, key: str, fault: Fault) -> None:
    """Raises an InputError unless the value is one of CHOICES[choices]."""
    if value not in CHOICES[choices]:
        raise fault(key, f"= {value!r}: {offer(value, CHOICES[choices])}")


def divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def check_objective(run: RunConfig, stage: StageConfig, fault: Fault) -> None:
    """Raises an InputError for the first thing about a stage's objective that cannot work."""
    objective, where = stage.objective, f"stages.{stage.name}.objective"
    if not objective.terms():
        raise fault(where, "is empty: name at least one term, as in {hard: {weight: 1.0}}.")
    if objective.needs_teacher and not stage.taught_by:
        raise fault(f"stages.{stage.name}.teacher", "is missing: the objective compares the student with a teacher.")
    if stage.taught_by and not objective.needs_teacher:
        raise fault(
            f"stages.{stage.name}.teacher", f"= {stage.taught_by!r}, but no term of the objective uses a teacher."
        )
    _check_terms_fit_data(stage, where, fault)
    if objective.attention is not None:
        check_choice(objective.attention.form, "form", f"{where}.attention.form", fault)
    for student in stage.trained:
        for teacher in stage.teachers:
            _check_sides(stage, _shapes(run, stage, student, split_reference(teacher)[0]), where, fault)


def _check_terms_fit_data(stage: StageConfig, where: str, fault: Fault) -> None:
    objective = stage.objective
    on_corpus = stage.data.corpus is not None
    if objective.hard is not None and on_corpus:
        raise fault(f"{where}.hard", "needs labels; a corpus has none. Use mlm, or a term with a teacher.")
    for name in ("soft", "logit_mse"):
        if getattr(objective, name) is not None and on_corpus:
            raise fault(f"{where}.{name}", "reads the answers of a task's head; a corpus has no task.")
    if objective.mlm is not None and not on_corpus:
        raise fault(f"{where}.mlm", "is for general text; name a data.corpus.")
    if objective.mlm is not None and objective.needs_teacher:
        others = ", ".join(name for name in objective.terms() if name != "mlm")
        raise fault(f"{where}.mlm", f"masks the input, so it cannot stand beside {others}, which reads it whole.")
    if stage.auxiliary_layers and (objective.reads_answers or objective.mlm is not None):
        raise fault(
            f"stages.{stage.name}.auxiliary_layers",
            f"= {stage.auxiliary_layers}: they are dropped behind the stage, and its heads would have learned to read "
            "them. Set it to 0, or take terms that compare inner layers alone.",
        )
    unfit = [name for name in objective.terms() if name not in ANSWER_TERMS]
    if len(stage.ensemble) > 1 and unfit:
        raise fault(f"{where}.{unfit[0]}", "compares inner layers; an ensemble has none in common. Name one teacher.")
    batches = {"optim": stage.optim.batch_size}
    batches |= {f"task_settings.{task}": settings.batch_size for task, settings in stage.task_settings.items()}
    for place, batch in batches.items():
        if objective.sample_relation is not None and batch is not None and batch < 2:
            key = f"stages.{stage.name}.{place}.batch_size"
            raise fault(key, f"= {batch}: sample_relation compares inputs of a batch.")
    if objective.sample_relation is not None and stage.optim.accumulate > 1:
        raise fault(
            f"stages.{stage.name}.optim.accumulate",
            f"= {stage.optim.accumulate}: sample_relation compares the inputs of a batch, and several never "
            "make the loss of a large one. Set accumulate to 1, or take relation, which compares tokens of one input.",
        )


def check_answers(stage: StageConfig, fault: Fault) -> None:
    """Raises an InputError where recorded answers cannot teach what the stage is to learn."""
    if stage.answers is None:
        return
    where, key = f"stages.{stage.name}", f"stages.{stage.name}.teacher.answers"
    inner = [name for name in stage.objective.terms() if name not in (*ANSWER_TERMS, "mlm")]
    if inner:
        raise fault(
            f"{where}.objective.{inner[0]}",
            "compares inner layers, and a file of answers has none. Take soft, or a teacher that is a model.",
        )
    if len(stage.data.tasks) > 1 and "{task}" not in stage.answers.answers:
        raise fault(
            key,
            f"= {stage.answers.answers!r}: {', '.join(stage.data.tasks)} have answers of their own. Write "
            "{task} where the names of their files differ.",
        )
    if stage.cache is not None:
        raise fault(
            f"{where}.cache", "keeps what a model answers; recorded answers lie in a file already. Take it out."
        )
    if stage.data.augment is not None:
        raise fault(f"{where}.data.augment", "makes texts that nobody has answered. Take it out, or name a model.")


def check_unlabelled(stage: StageConfig, fault: Fault) -> None:
    """Raises an InputError where unlabelled texts are asked for and no term of the objective can learn from them."""
    asked = {"data": stage.data.unlabelled_examples}
    asked |= {f"task_settings.{task}": given.unlabelled_examples for task, given in stage.task_settings.items()}
    for where, number in asked.items():
        key, on_text = f"stages.{stage.name}.{where}.unlabelled_examples", stage.data.corpus is not None
        if number and on_text:
            raise fault(key, f"= {number}: the stage reads general text, and no task's texts. Take the key out.")
        if number and not stage.objective.needs_teacher:
            raise fault(
                key,
                f"= {number}: hard learns from labels alone. Add a term that reads a teacher, as in "
                "{soft: {weight: 1.0}} with teacher: model@stage, or take the key out.",
            )


def _check_sides(stage: StageConfig, sides: Sides, where: str, fault: Fault) -> None:
    objective = stage.objective
    for name in ("relation", "sample_relation"):
        if getattr(objective, name) is not None:
            _check_relation(getattr(objective, name), sides, f"{where}.{name}", fault)
    if objective.attention is not None:
        _check_heads(objective.attention, sides, f"{where}.attention.heads", fault)
    for name in ("attention", "hidden"):
        if getattr(objective, name) is not None and len(sides) == 2:
            try:
                layer_map(getattr(objective, name).layers, sides["student"][1], sides["teacher"][1])
            except InputError as error:
                raise fault(f"{where}.{name}", f"cannot map the layers: {error}") from None


def _shapes(run: RunConfig, stage: StageConfig, student: str, teacher: str) -> Sides:
    """Shape and number of layers of the student and the teacher, as far as the config tells them."""
    found: Sides = {}
    for side, name in (("teacher", teacher), ("student", student)):
        shape = shape_of(run.models[name])
        if isinstance(shape, EncoderShape):
            found[side] = shape, shape.num_hidden_layers + (stage.auxiliary_layers if side == "student" else 0)
    return found


def _check_relation(term: RelationTerm, sides: Sides, key: str, fault: Fault) -> None:
    if not term.pairs:
        raise fault(f"{key}.pairs", f"is empty. Valid: {', '.join(CHOICES['pairs'])}.")
    for pair in term.pairs:
        check_choice(pair, "pairs", f"{key}.pairs", fault)
    _check_split(term.relation_heads, sides, f"{key}.relation_heads", fault)
    for side, (_, layers) in sides.items():
        layer = term.teacher_layer if side == "teacher" else term.student_layer
        if not -layers <= layer < layers:
            raise fault(f"{key}.{side}_layer", f"= {layer}: the {side} has the layers 0 to {layers - 1}.")


def _check_split(heads: int, sides: Sides, key: str, fault: Fault) -> None:
    for side, (shape, _) in sides.items():
        if shape.attention_width % heads:
            common = gcd(*(other.attention_width for other, _ in sides.values()))
            widths = " and ".join(str(other.attention_width) for other, _ in sides.values())
            named = "hidden_size" if shape.attention_width == shape.hidden_size else "num_attention_heads x head_size ="
            raise fault(
                key,
                f"= {heads} does not divide the {side}'s {named} {shape.attention_width}. "
                f"Heads that divide {widths}: {listed(divisors(common))}.",
            )


def _check_heads(term: AttentionTerm, sides: Sides, key: str, fault: Fault) -> None:
    """Attention is compared head by head, so both models need as many, or a number that splits both."""
    if term.heads is not None:
        _check_split(term.heads, sides, key, fault)
        return
    counts = {shape.num_attention_heads for shape, _ in sides.values()}
    if len(counts) > 1:
        common = gcd(*(shape.attention_width for shape, _ in sides.values()))
        raise fault(
            key,
            f"is missing: the teacher has {sides['teacher'][0].num_attention_heads} heads and the student "
            f"{sides['student'][0].num_attention_heads}, which cannot be compared one by one. Give a number that "
            f"splits both: {listed(divisors(common))}. Or use relation, which has no such need.",
        )

"""What a model of a family can be given, can start from, and can learn or teach."""

from __future__ import annotations

from collections.abc import Mapping

from ernie_tiny.config.check_objective import Fault
from ernie_tiny.config.schema import (
    ANSWER_TERMS,
    IMPORTANCE,
    NARROWING,
    ModelConfig,
    RunConfig,
    StageConfig,
    split_reference,
)
from ernie_tiny.config.shapes import BiLstmShape, EncoderShape, family_of, shape_of
from ernie_tiny.family_facts import FACTS

# Key of a model to the width in its shape that weights can be narrowed to, and not widened.
NARROWED_WIDTHS = {
    **{key: key for key in ("hidden_size", "num_attention_heads", "intermediate_size")},
    "head_size": "head_width",
}


def check_family(model: ModelConfig, key: str, fault: Fault) -> None:
    """Raises an InputError for the first key that the model's family does not have."""
    facts = FACTS[model.family]
    _check_refused(model, facts.refused, key, fault)
    if facts.recurrent and model.hidden_size is not None and model.hidden_size % 2:
        raise fault(
            f"{key}.hidden_size",
            f"= {model.hidden_size}: must be even, a half for each direction of the {facts.title}.",
        )


def check_folder_family(model: ModelConfig, key: str, fault: Fault) -> None:
    """Raises an InputError for the first key that the family of a pretrained model's folder does not have."""
    facts = family_of(model) if model.pretrained is not None else None
    if facts is not None:
        refused = {name: reason for name, reason in facts.refused.items() if name != "pretrained"}
        _check_refused(model, refused, key, fault)


def _check_refused(model: ModelConfig, refused: Mapping[str, str], key: str, fault: Fault) -> None:
    for name, reason in refused.items():
        if getattr(model, name) not in (None, ()):
            raise fault(f"{key}.{name}", f"cannot be given: {reason}.")


def check_stage_families(run: RunConfig, stage: StageConfig, fault: Fault) -> None:
    """Raises an InputError where a stage wants of a BiLSTM, as student or teacher, what only a Transformer has."""
    key = f"stages.{stage.name}"
    for name in (*stage.trained, *(split_reference(teacher)[0] for teacher in stage.teachers)):
        if not isinstance(shape_of(run.models[name]), BiLstmShape):
            continue
        for term in stage.objective.terms():
            if term not in ANSWER_TERMS:
                raise fault(
                    f"{key}.objective.{term}",
                    f"reads what only a Transformer has, and {name} is a BiLSTM, which gives the answers of its heads "
                    f"alone. Terms for it: {', '.join(ANSWER_TERMS)}.",
                )
        if name in stage.trained and stage.auxiliary_layers:
            raise fault(
                f"{key}.auxiliary_layers",
                f"= {stage.auxiliary_layers}, but {name} is a BiLSTM: only layers of a Transformer can be added.",
            )


def check_source(run: RunConfig, name: str, source: str, fault: Fault) -> None:
    """Raises an InputError where a model cannot take from the model of its init_from what its family takes."""
    own, other = shape_of(run.models[name]), shape_of(run.models[source])
    if other is None:
        return
    if not isinstance(own, BiLstmShape):
        if isinstance(other, BiLstmShape):
            raise fault(f"models.{name}.init_from", f"= {source}, a BiLSTM: it has no layers that {name} could take.")
        if other.embedding_size not in (None, other.hidden_size):
            raise fault(
                f"models.{name}.init_from",
                f"= {source}, whose word embeddings are {other.embedding_size} wide and its layers "
                f"{other.hidden_size}: a model from a shape has one width for both. Name another model.",
            )
        if own is not None and run.models[name].init_narrowed in NARROWING:
            _check_narrowed(run, name, own, source, other, fault)
        elif own is not None:
            _check_parts(run.models[name], f"models.{name}", own, source, other, fault)
        return
    width = other.embedding_size or other.hidden_size
    if own.embedding_size != width:
        raise fault(
            f"models.{name}.init_from",
            f"gives word embeddings of width {width}, and {name} has embedding_size {own.embedding_size}. Set "
            f"models.{name}.embedding_size to {width}.",
        )


def _check_narrowed(
    run: RunConfig, name: str, own: EncoderShape, source: str, other: EncoderShape, fault: Fault
) -> None:
    """Raises an InputError where the source is of another family, or narrower."""
    here, there = family_of(run.models[name]), family_of(run.models[source])
    if here is not None and there is not None and here is not there:
        raise fault(
            f"models.{name}.init_from",
            f"= {source}, of the family {there.name}, and {name} is of {here.name}: weights are narrowed within one "
            f"family. Set models.{name}.family to {there.name}.",
        )
    for key, part in NARROWED_WIDTHS.items():
        if getattr(own, part) > getattr(other, part):
            raise fault(
                f"models.{name}.{key}",
                f"is {getattr(own, part)}, and {getattr(other, part)} in {source}: weights are narrowed, never "
                f"widened. Set it to {getattr(other, part)} or less.",
            )


def _check_parts(
    model: ModelConfig, key: str, own: EncoderShape, source: str, other: EncoderShape, fault: Fault
) -> None:
    """Raises an InputError where layers of the source do not fit as they are, or less heads and neurons."""
    if own.hidden_size != other.hidden_size:
        raise fault(
            f"{key}.hidden_size",
            f"= {own.hidden_size}, and {source} has {other.hidden_size}: layers are taken as wide as they are. Set it "
            f"to {other.hidden_size}, or for a narrower model {key}.init_narrowed to {' or '.join(NARROWING)}.",
        )
    if own.head_width != other.head_width:
        raise fault(
            f"{key}.head_size",
            f"is {own.head_width}, by default hidden_size / num_attention_heads, and {other.head_width} in {source}: "
            f"layers are taken with their heads as they are. Set it to {other.head_width}.",
        )
    for part in ("num_attention_heads", "intermediate_size"):
        here, there = getattr(own, part), getattr(other, part)
        if here > there:
            raise fault(f"{key}.{part}", f"= {here}, and {source} has {there}: none can be added. Set it to {there}.")
        if here < there and model.init_narrowed != IMPORTANCE:
            raise fault(
                f"{key}.{part}",
                f"= {here}, and {source} has {there}. Set it to {there}, or {key}.init_narrowed to {IMPORTANCE}, which "
                "takes those that matter most.",
            )

"""What a BiLSTM can be given, can start from, and can learn or teach, and what is a Transformer's alone."""

from __future__ import annotations

from ernie_tiny.config.check_objective import Fault
from ernie_tiny.config.schema import ANSWER_TERMS, ModelConfig, RunConfig, StageConfig, split_reference
from ernie_tiny.config.shapes import BILSTM, BiLstmShape, shape_of

NOT_OF_A_BILSTM = {
    "pretrained": "a pretrained model brings its family with it; leave family out",
    "shape": "the published shapes are those of Transformers; give num_hidden_layers and hidden_size",
    "num_attention_heads": "it has no attention heads",
    "intermediate_size": "it has no feed-forward layers",
    "max_position_embeddings": "it has no positions and reads any length",
    "attention_probs_dropout_prob": "it has no attention between tokens",
    "init_layers": "it has no layers of init_from's kind and takes its word embeddings alone",
}


def check_family(model: ModelConfig, key: str, fault: Fault) -> None:
    """Raises an InputError for the first key that the model's family does not have."""
    if model.family != BILSTM:
        if model.embedding_size is not None:
            raise fault(
                f"{key}.embedding_size",
                f"cannot be given: the word embeddings of a Transformer ({model.family}) have its hidden_size. Only "
                f"family {BILSTM} has a width of its own for them.",
            )
        return
    for name, reason in NOT_OF_A_BILSTM.items():
        if getattr(model, name) not in (None, ()):
            raise fault(f"{key}.{name}", f"cannot be given: the model is a BiLSTM, and {reason}.")
    if model.hidden_size is not None and model.hidden_size % 2:
        raise fault(
            f"{key}.hidden_size", f"= {model.hidden_size}: must be even, a half for each direction of the BiLSTM."
        )


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
        return
    width = other.embedding_size if isinstance(other, BiLstmShape) else other.hidden_size
    if own.embedding_size != width:
        raise fault(
            f"models.{name}.init_from",
            f"gives word embeddings of width {width}, and {name} has embedding_size {own.embedding_size}. Set "
            f"models.{name}.embedding_size to {width}.",
        )

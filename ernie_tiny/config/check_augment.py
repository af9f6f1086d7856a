"""Which data can be augmented, and by which models."""

from __future__ import annotations

import json
from pathlib import Path

from ernie_tiny.config.check_objective import Fault
from ernie_tiny.config.schema import AugmentConfig, RunConfig, StageConfig, split_reference
from ernie_tiny.config.shapes import folder_config
from ernie_tiny.family_facts import MADE_BY_PADDLENLP
from ernie_tiny.kind_facts import HEADS_FILE


def check_augmentation(run: RunConfig, stage: StageConfig, augment: AugmentConfig, fault: Fault) -> None:
    """Raises an InputError unless the stage learns from tasks and the model has a head for masked tokens."""
    key = f"stages.{stage.name}.data.augment"
    if stage.data.corpus is not None:
        raise fault(key, "copies a task's examples with their labels; general text has none. Take more text instead.")
    model, stage_name = split_reference(augment.model)
    if stage_name is not None:
        able = run.stage(stage_name).objective.mlm is not None
    else:
        pretrained = run.models[model].pretrained
        able = pretrained is not None and _has_masked_token_head(pretrained, f"{key}.model", fault)
    if not able:
        raise fault(
            f"{key}.model",
            f"= {augment.model!r} has no head for masked tokens. Name model@stage of a stage with the objective mlm, "
            "or a pretrained folder that such a stage wrote, or that transformers saved as …ForMaskedLM (PaddleNLP's "
            "models are loaded without theirs).",
        )


def _has_masked_token_head(pretrained: str, key: str, fault: Fault) -> bool:
    """Whether a folder holds the head: by its heads.json, or by the class that transformers saved it as."""
    file = Path(pretrained) / HEADS_FILE
    try:
        if file.is_file():
            return bool(json.loads(file.read_text(encoding="utf-8"))["masked_tokens"])
        config = folder_config(pretrained) or {}
        classes = [] if MADE_BY_PADDLENLP in config else config.get("architectures") or []
        return any(str(name).endswith(("ForMaskedLM", "BertForPreTraining")) for name in classes)
    except (ValueError, LookupError, TypeError) as error:
        raise fault(key, f"names a folder whose {file} is damaged ({error}). Copy the folder again.") from None

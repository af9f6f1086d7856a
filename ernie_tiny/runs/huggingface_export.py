"""A run's model as a folder that `transformers` opens, with its tokenizer and a card."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Optional

from ernie_tiny.data.huggingface_tokenizer import save_tokenizer_for_transformers
from ernie_tiny.errors import InputError
from ernie_tiny.files import CARD_FILE, whole_folder
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.backbone import count_embedding_parameters, count_parameters, usable_positions
from ernie_tiny.models.huggingface_write import require_class, save_for_transformers
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.report.card import Export, model_card
from ernie_tiny.report.results import Results
from ernie_tiny.runs.references import check_models
from ernie_tiny.runs.trained import trained_length, trained_model
from ernie_tiny.training.flops import input_length
from ernie_tiny.training.workspace import Workspace


def export_for_transformers(
    workspace: Workspace, reference: str, task: Optional[str], folder: Path, results: Optional[Results]
) -> str:
    """Writes model@stage for AutoModelFor….from_pretrained; gives the name of the class.

    Args:
        task: Whose head goes with it; None for the bare encoder, of a stage that trains one.
        results: The run's, for the card; None for a run that is not finished.
    Raises:
        InputError: transformers has no class that computes the model.
    """
    head = _head(workspace, task) if task else ""
    model, length = _trained(workspace, reference, task)
    require_class(model.encoder, head, f"{reference}, {task}" if task else reference)
    with whole_folder(folder) as target:
        _save(workspace, model, target, task or "", head, min(length, usable_positions(model.encoder) or length))
        if task:
            card = Export(
                workspace.run, reference, dataclasses.replace(workspace.task(task), max_length=length),
                count_parameters(model.encoder), count_embedding_parameters(model.encoder), results,
                round((target / "model.safetensors").stat().st_size / 1e6, 2), transformers_head=head,
            )  # fmt: skip
            (target / CARD_FILE).write_text(model_card(card), encoding="utf-8")
    return f"AutoModel{'For' * bool(head)}{head}"


def _head(workspace: Workspace, task: str) -> str:
    kind = facts_of(workspace.task(task).kind)
    if not kind.transformers_head:
        raise InputError(
            f"task {task}: transformers has no class for the heads of the kind {kind.name}. Export it for Paddle "
            "Inference, --format paddle, or write the bare encoder: leave --task out."
        )
    return kind.transformers_head


def _trained(workspace: Workspace, reference: str, task: Optional[str]) -> tuple[MultiTaskModel, int]:
    """The model with the head of a task, or the one model of a stage, and the tokens of its longest input."""
    if task:
        return trained_model(workspace, reference, task), trained_length(workspace, reference, task)
    check_models(workspace.run, [reference])
    stage = workspace.stage_of(reference)
    if len(stage.parts) > 1:
        raise InputError(
            f"{reference}: has one encoder a task ({', '.join(stage.data.tasks)}). Name a stage that has one, such "
            "as the one before it; with --task, the task's head is written too."
        )
    (only,) = stage.parts
    specs = [workspace.task(name) for name in stage.data.tasks]
    return workspace.model(reference, only), input_length(stage.of_task(only), specs)


def _save(workspace: Workspace, model: MultiTaskModel, folder: Path, task: str, head: str, length: int) -> None:
    tokenizer = workspace.tokenizer
    special_ids = {"pad_token_id": tokenizer.pad_id, "bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    names: tuple[str, ...] = ()
    if task:
        spec = workspace.task(task)
        names = kind_named(spec.kind).output_names(spec)
    save_for_transformers(model, folder, special_ids, task, head, names)
    save_tokenizer_for_transformers(tokenizer, folder, length, model.encoder.config.type_vocab_size)

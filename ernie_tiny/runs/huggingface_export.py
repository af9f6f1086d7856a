"""A run's model as a folder that `transformers` opens, with its tokenizer and a card."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Optional

from ernie_tiny.data.huggingface_tokenizer import save_tokenizer_for_transformers
from ernie_tiny.errors import InputError
from ernie_tiny.files import whole_folder
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.backbone import count_embedding_parameters, count_parameters, usable_positions
from ernie_tiny.models.huggingface_write import require_class, save_for_transformers
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.report.card import CARD_FILE, Export, model_card
from ernie_tiny.report.results import Results
from ernie_tiny.runs.trained import trained_length, trained_model, trained_tasks
from ernie_tiny.training.workspace import Workspace


def export_for_transformers(
    workspace: Workspace, reference: str, task: Optional[str], folder: Path, results: Optional[Results]
) -> str:
    """Writes model@stage for AutoModelFor….from_pretrained; gives the name of the class.

    Args:
        task: Whose head goes with it; None for the bare encoder.
        results: The run's, for the card; None for a run that is not finished.
    Raises:
        InputError: transformers has no class that computes the model.
    """
    spec = workspace.task(task or trained_tasks(workspace, reference)[0])
    kind = facts_of(spec.kind)
    head = kind.transformers_head if task else ""
    if task and not head:
        raise InputError(
            f"task {task}: transformers has no class for the heads of the kind {kind.name}. Export it for Paddle "
            "Inference, --format paddle, or write the bare encoder: leave --task out."
        )
    model = trained_model(workspace, reference, spec.name)
    require_class(model.encoder, head, f"{reference}, {task}" if task else reference)
    length = trained_length(workspace, reference, spec.name)
    with whole_folder(folder) as target:
        _save(workspace, model, target, task or "", head, min(length, usable_positions(model.encoder) or length))
        if task:
            card = Export(
                workspace.run, reference, dataclasses.replace(spec, max_length=length),
                count_parameters(model.encoder), count_embedding_parameters(model.encoder), results,
                round((target / "model.safetensors").stat().st_size / 1e6, 2), transformers_head=head,
            )  # fmt: skip
            (target / CARD_FILE).write_text(model_card(card), encoding="utf-8")
    return f"AutoModel{'For' * bool(head)}{head}"


def _save(workspace: Workspace, model: MultiTaskModel, folder: Path, task: str, head: str, length: int) -> None:
    tokenizer = workspace.tokenizer
    special_ids = {"pad_token_id": tokenizer.pad_id, "bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    names: tuple[str, ...] = ()
    if task:
        spec = workspace.task(task)
        names = kind_named(spec.kind).output_names(spec)
    save_for_transformers(model, folder, special_ids, task, head, names)
    save_tokenizer_for_transformers(tokenizer, folder, length, model.encoder.config.type_vocab_size)

"""The models of a run as folders for inference engines: behind their gates, with a card, and timed."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ernie_tiny.engine_facts import INT8, forms
from ernie_tiny.files import CARD_FILE, whole_folder
from ernie_tiny.models.backbone import count_embedding_parameters, count_parameters, usable_positions
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.report.card import Export, Gate, model_card
from ernie_tiny.report.results import ModelResult, Results, Speed
from ernie_tiny.runs.int8 import check_int8
from ernie_tiny.runs.trained import trained_length, trained_model
from ernie_tiny.serving.benchmark import Candidate, Cell, timings
from ernie_tiny.serving.export import check_parity, export_model, is_static, require_bfloat16
from ernie_tiny.serving.exported import PADDLE, megabytes
from ernie_tiny.training.workspace import Workspace

SPEED_LENGTH = 64  # tokens of the inputs that are timed, less where a model has fewer positions
SPEED_BATCH, SPEED_THREADS, SPEED_SECONDS = 32, 1, 1.0  # of the calls of a shape and a model, roughly
CALIBRATION_EXAMPLES = 128  # of train, whose activations fix the scales of static quantisation
EXPORT_FOLDER, SPEED_FOLDER = "export", "speed"
logger = logging.getLogger(__name__)


def export_run(workspace: Workspace, results: Results) -> dict[str, dict[str, Any]]:
    """Exports what the config says; gives folder and differences by task."""
    config = workspace.run.export
    if config.model is None:
        return {}
    exports = {}
    for task in config.tasks or workspace.stage_of(config.model).data.tasks:
        folder = workspace.folder / EXPORT_FOLDER / task
        exports[task] = export_task(workspace, config.model, task, folder, results)
        logger.info("%s exported to %s, logits differ by %.1e", config.model, folder, exports[task]["inference"])
    return exports


def export_task(
    workspace: Workspace, reference: str, task: str, folder: Path, results: Optional[Results]
) -> dict[str, Any]:
    """Exports one model for one task, with a card, through the parity gate; returns folder and differences.

    Args:
        results: The run's, for the card; None for a run that is not finished.
    """
    config, spec = workspace.run.export, workspace.task(task)
    length = trained_length(workspace, reference, task)
    model = trained_model(workspace, reference, task)
    model.eval()
    with whole_folder(folder) as target:
        own = list(dict.fromkeys([PADDLE, *forms(config.engines, config.precisions)]))  # the others are made of it
        require_bfloat16(own)
        static = any(precision == INT8 and is_static(engine, config.int8) for engine, precision in own)
        calibration = workspace.features(task, "train", length, CALIBRATION_EXAMPLES) if static else []
        export_model(model, spec, workspace.tokenizer, length, target, own, calibration, config.int8)
        features = workspace.features(task, "dev", length, config.parity_examples)
        differences = check_parity(target, model, features, workspace.tokenizer.pad_id, config.tolerance, own)
        int8 = check_int8(workspace, task, target, own)
        card = Export(
            workspace.run, reference, dataclasses.replace(spec, max_length=length), count_parameters(model.encoder),
            count_embedding_parameters(model.encoder), results, megabytes(target),
            Gate(differences, len(features), config.tolerance),
        )  # fmt: skip
        (target / CARD_FILE).write_text(model_card(card), encoding="utf-8")
    return {"folder": str(folder), **differences, **int8}


def measure_speeds(workspace: Workspace, models: Sequence[ModelResult], task: str) -> None:
    """Fills in sizes and speeds, from exports of one task; a baseline that is the same network has the student's."""
    folders: dict[str, Path] = {}
    networks: dict[str, object] = {}
    length, spec = SPEED_LENGTH, workspace.task(task)
    for result in models:
        model = workspace.model(result.reference, task)
        networks[result.role] = _network(model)
        if _timed_as(result.role, networks) == result.role:
            folders[result.role] = workspace.folder / SPEED_FOLDER / result.role
            length = min(length, usable_positions(model.encoder) or length)
            with whole_folder(folders[result.role]) as target:
                export_model(model, spec, workspace.tokenizer, spec.max_length, target)
    candidates = {role: Candidate(folder, PADDLE, SPEED_THREADS) for role, folder in folders.items()}
    speeds = timings(candidates, [Cell(1, length), Cell(SPEED_BATCH, length)], SPEED_SECONDS)
    for result in models:
        role = _timed_as(result.role, networks)
        result.megabytes = megabytes(folders[role])
        single, batch = speeds[role]
        throughput = round(batch.texts_per_second, 1)
        result.speed = Speed(single.p50, single.p95, throughput, length, SPEED_BATCH, SPEED_THREADS)
    shutil.rmtree(workspace.folder / SPEED_FOLDER, ignore_errors=True)


def _network(model: MultiTaskModel) -> object:
    """Equal for models whose calls take the same time."""
    encoder = model.encoder
    shapes = {name: tuple(weight.shape) for name, weight in encoder.state_dict().items()}
    return encoder.config.model_type, getattr(encoder.config, "num_attention_heads", None), shapes


def _timed_as(role: str, networks: Mapping[str, object]) -> str:
    """The role whose export is timed for a model; two timings of one network would differ by noise alone."""
    return "student" if role == "baseline" and networks.get("student") == networks[role] else role

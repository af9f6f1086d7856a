"""What a stage leaves: whether it is finished, which checkpoints there are, the newest whole one, which may go."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Optional

from ernie_tiny.config.schema import RunConfig, StageConfig
from ernie_tiny.files import damage

STAGE_RESULT_FILE = "result.json"  # in the folder of a stage that is finished
CHECKPOINT, BEST = "checkpoint", "best"  # folders of a stage, each with its step behind a hyphen
logger = logging.getLogger(__name__)


def unfinished_stages(run: RunConfig) -> list[StageConfig]:
    """The run's own stages of which some part is still to be trained."""
    folder = Path(run.folder) / "stages"
    return [
        stage for stage in run.own_stages
        if not all((folder / stage.name / (task or "") / STAGE_RESULT_FILE).is_file() for task in stage.parts)
    ]  # fmt: skip


def checkpoint_folder(folder: Path, step: int, name: str = CHECKPOINT) -> Path:
    return folder / f"{name}-{step}"


def latest_checkpoint(folder: Path) -> Optional[Path]:
    """The newest whole checkpoint below a folder; damaged ones are named in a warning and passed over."""
    found = checkpoints(folder)
    for checkpoint in found:
        fault = damage(checkpoint)
        if fault is None:
            return checkpoint
        left = "the checkpoint before it is used" if checkpoint != found[-1] else "none is left: the stage starts anew"
        logger.warning("%s is damaged (%s); %s.", checkpoint, fault, left)
    return None


def prune_checkpoints(folder: Path, keep: int, newest: Optional[int] = None, name: str = CHECKPOINT) -> None:
    """Removes all but the newest `keep` checkpoints.

    Args:
        newest: The step of the checkpoint just written. What is there of later steps was damaged when the stage
            was resumed before it: it goes too, and does not count.
    """
    found = checkpoints(folder, name)
    kept = [checkpoint for checkpoint in found if newest is None or step_of(checkpoint) <= newest][:keep]
    for checkpoint in found:
        if checkpoint not in kept:
            shutil.rmtree(checkpoint)


def checkpoints(folder: Path, name: str = CHECKPOINT) -> list[Path]:
    """The checkpoints below a folder, damaged ones too, the newest first."""
    pattern = re.compile(rf"{name}-(\d+)$")
    return sorted((path for path in folder.glob(f"{name}-*") if pattern.match(path.name)), key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])

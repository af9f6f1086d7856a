"""Folders that are either whole or not there: written beside, checked by checksum, then renamed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

MANIFEST = "manifest.json"
_NAME = re.compile(r"checkpoint-(\d+)$")
logger = logging.getLogger(__name__)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to write into; when the block ends well it is synced and takes the place of `folder`."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    checksums = {str(file.relative_to(partial)): _checksum(file) for file in _files(partial)}
    write_text(partial / MANIFEST, json.dumps(checksums, indent=1))
    replaced = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():  # moved and not emptied: a kill may leave no folder, but never half of one
        os.replace(folder, replaced)
    os.replace(partial, folder)
    _sync(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def damage(folder: Path) -> Optional[str]:
    """What is wrong with a folder that whole_folder wrote, or None when every byte is as written."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return f"{MANIFEST} is missing"
    try:
        checksums: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        return f"{MANIFEST} is not valid JSON"
    for name, checksum in checksums.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if _checksum(folder / name) != checksum:
            return f"{name} has another checksum than when it was written"
    return None


def checkpoint_folder(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step}"


def latest_checkpoint(folder: Path) -> Optional[Path]:
    """The newest whole checkpoint below a folder; damaged ones are named in a warning and passed over."""
    for checkpoint in reversed(_checkpoints(folder)):
        fault = damage(checkpoint)
        if fault is None:
            return checkpoint
        logger.warning("%s is damaged (%s); the checkpoint before it is used.", checkpoint, fault)
    return None


def prune_checkpoints(folder: Path, keep: int, newest: Optional[int] = None) -> None:
    """Removes all but the newest `keep` checkpoints.

    Args:
        newest: The step of the checkpoint just written. What is there of later steps was damaged when the stage
            was resumed before it: it goes too, and does not count.
    """
    found = _checkpoints(folder)
    kept = [checkpoint for checkpoint in found if newest is None or _step(checkpoint) <= newest][-keep:]
    for checkpoint in found:
        if not keep or checkpoint not in kept:
            shutil.rmtree(checkpoint)


def write_text(path: Path, text: str) -> None:
    """Writes a file beside its place, syncs it and renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    _sync(partial)
    os.replace(partial, path)


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if _NAME.search(path.name)]
    return sorted(found, key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    _sync(file)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

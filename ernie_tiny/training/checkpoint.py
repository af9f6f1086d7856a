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
from typing import Any, Optional

from safetensors import SafetensorError

from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json

STAGE_RESULT_FILE = "result.json"  # in the folder of a stage that is finished
MANIFEST = "manifest.json"
CHECKPOINT, BEST = "checkpoint", "best"  # folders of a stage, each with its step behind a hyphen
CHECKSUM = "checksum"  # key of a record
SYSTEM_ERROR = re.compile(r"os error (\d+)")  # in what the Rust of safetensors says
logger = logging.getLogger(__name__)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to write into; when the block ends well it is synced and takes the place of `folder`.

    Otherwise it is removed: a full disk needs the room.
    """
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with errors_named(folder):
            partial.mkdir(parents=True)
            yield partial
            seal(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    replaced = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():  # moved and not emptied: a kill may leave no folder, but never half of one
        os.replace(folder, replaced)
    os.replace(partial, folder)
    _sync(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def errors_named(place: Path) -> Iterator[None]:
    """Errors of the disk in this block name a place: `write` does not, and safetensors has an error of its own."""
    try:
        yield
    except SafetensorError as error:
        code = SYSTEM_ERROR.search(str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(place)) from error
    except OSError as error:
        if error.filename is None:
            error.filename = str(place)
        raise


def seal(folder: Path) -> None:
    """Syncs all files of a folder and writes their checksums beside them."""
    checksums = {str(file.relative_to(folder)): file_checksum(file, sync=True) for file in _files(folder)}
    write_text(folder / MANIFEST, to_json(checksums, indent=1))


def damage(folder: Path) -> Optional[str]:
    """What is wrong with a folder that was sealed, or None when every byte is as written."""
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
        if file_checksum(folder / name) != checksum:
            return f"{name} has another checksum than when it was written"
    return None


def require_whole(folder: Path, remedy: str) -> None:
    """Raises an InputError with the remedy when a sealed folder is damaged."""
    fault = damage(folder)
    if fault is not None:
        raise InputError(f"{folder}: is damaged: {fault}. {remedy}")


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


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object with a checksum of its own."""
    write_text(path, to_json({**content, CHECKSUM: _digest(content)}, indent=1))


def read_record(path: Path, remedy: str) -> dict[str, Any]:
    """The object that write_record wrote.

    Raises:
        InputError: it is damaged; the message ends with the remedy.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        checksum = content.pop(CHECKSUM, None)  # which earlier versions did not write
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is damaged: it is no JSON object ({error}). {remedy}") from error
    if checksum not in (None, _digest(content)):
        raise InputError(f"{path}: is damaged: it has another {CHECKSUM} than when it was written. {remedy}")
    return content


def write_text(path: Path, text: str) -> None:
    """Writes a file beside its place, syncs it and renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        with errors_named(path):
            partial.write_text(text, encoding="utf-8")
            _sync(partial)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)
    _sync(path.parent)


def _partial(path: Path) -> Path:
    """Where a file or folder is written before it takes its place."""
    return path.with_name(f".{path.name}.partial")


def _files(folder: Path) -> list[Path]:
    own = (folder / MANIFEST, _partial(folder / MANIFEST))  # a kill may have left the second
    return sorted(path for path in folder.rglob("*") if path.is_file() and path not in own)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_checksum(file: Path, sync: bool = False) -> str:
    """SHA-256 of a file's content, in hexadecimal; with `sync` the content is on the disk when it returns."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
        if sync:
            os.fsync(stream.fileno())
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Files as the project writes and reads them.

JSON that every reader takes; files and folders that are either whole or not there: written beside, synced, renamed,
checked by checksum; advice where a text is in another encoding.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Callable, Optional

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from ernie_tiny.errors import InputError

CARD_FILE = "README.md"  # of an exported model
MANIFEST = "manifest.json"  # of a sealed folder: a checksum a file
CHECKSUM = "checksum"  # key of a record
SYSTEM_ERROR = re.compile(r"os error (\d+)")  # in what the Rust of safetensors says
BYTE_ORDER_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)

logger = logging.getLogger(__name__)


def to_json(value: Any, indent: Optional[int] = None, sort_keys: bool = False) -> str:
    """The value as JSON (RFC 8259), Chinese as it is; whatever the project writes or answers goes through here.

    Raises:
        InputError: the value holds NaN or an infinity, which JSON has no words for; the message names its place.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, sort_keys=sort_keys)
    except ValueError:
        place = _place_of_infinite(value)
        if place is None:
            raise
        raise InputError(
            f"{place} is not a finite number, so it cannot be written. A network whose training diverged gives such "
            "numbers: lower optim.learning_rate, or set runtime.precision to float32, and train again."
        ) from None


def _place_of_infinite(value: Any, place: str = "the value") -> Optional[str]:
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place} = {value}"
    children = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    )
    start = "" if place == "the value" else f"{place}."
    found = (_place_of_infinite(item, f"{start}{name}") for name, item in children)
    return next((one for one in found if one is not None), None)


def finite_or_none(value: Any) -> Any:
    """The value with null for each NaN and infinity in it: what a log of a diverging run holds."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite_or_none(item) for name, item in value.items()}
    return [finite_or_none(item) for item in value] if isinstance(value, (list, tuple)) else value


def at_home(place: str) -> str:
    """A path with the home folder in place of a `~` or `~user` that it begins with; any other text as it is.

    Raises:
        InputError: there is no such user.
    """
    found = os.path.expanduser(place) if place.startswith("~") else place
    if found.startswith("~"):
        user = place.split("/")[0]
        raise InputError(f"{place!r}: no user {user[1:]!r} has a home here. Write ./{place} for a folder of that name.")
    return found


@contextmanager
def alone_at(place: Path) -> Iterator[None]:
    """A block that one process at a time is in for a place that several runs share; the others wait their turn.

    The lock is a file beside the place. The system releases it when its process ends, however it ends.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("%s: another process writes it; waits until that is done", place)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to write into; when the block ends well it is synced and takes the place of `folder`.

    Otherwise it is removed: a full disk needs the room. Where `folder` is a link, what it leads to is replaced.

    Raises:
        InputError: another process writes it.
    """
    folder = folder.resolve()
    partial = _partial(folder)
    with _held(partial, folder) if partial.is_dir() else nullcontext():  # free where a kill has left it
        shutil.rmtree(partial, ignore_errors=True)
    try:
        with errors_named(folder):
            partial.mkdir(parents=True)
            with _held(partial, folder):
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
def _held(partial: Path, folder: Path) -> Iterator[None]:
    """A block in which no other process may write the folder that is written here; the system ends it with us."""
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(f"{folder}: another process writes it. Wait until it ends, or name another folder.") from None
    except OSError as error:
        logger.debug("%s: %s", partial, error)  # a file system without locks
    try:
        yield
    finally:
        os.close(descriptor)


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


def damage(folder: Path, unread: Callable[[str], bool] = lambda name: False) -> Optional[str]:
    """What is wrong with a folder that was sealed, or None when every byte is as written, unread files left out."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return f"{MANIFEST} is missing"
    try:
        checksums: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        return f"{MANIFEST} is not valid JSON"
    for name, checksum in checksums.items():
        if unread(name):
            continue
        if not (folder / name).is_file():
            return f"{name} is missing"
        if file_checksum(folder / name) != checksum:
            return f"{name} has another checksum than when it was written"
    return None


def unlisted(folder: Path) -> list[Path]:
    """The files of a folder that its checksums do not name: all of them where it was not sealed."""
    try:
        names = set(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        names = set()
    return [file for file in _files(folder) if str(file.relative_to(folder)) not in names]


def require_whole(folder: Path, remedy: str) -> None:
    """Raises an InputError with the remedy when a sealed folder is damaged."""
    fault = damage(folder)
    if fault is not None:
        raise InputError(f"{folder}: is damaged: {fault}. {remedy}")


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object with a checksum of its own."""
    write_text(path, to_json({**content, CHECKSUM: _digest(content)}, indent=1))


def read_record(path: Path, remedy: str) -> dict[str, Any]:
    """The object that write_record wrote.

    Raises:
        InputError: it is damaged; the message ends with the remedy.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
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


def file_head(path: Path) -> bytes:
    """The first bytes of a file, by which encoding_advice knows its encoding."""
    with path.open("rb") as file:
        return file.read(4096)


def encoding_advice(head: bytes, line: bytes = b"") -> str:
    """How to convert what is not UTF-8, by its first bytes: UTF-16 and UTF-32 show themselves.

    Args:
        line: The one that is not UTF-8, where it is known. If it is not GB 18030 either, no conversion is named.
    """
    found = encoding_of(head)
    if found is None and not _decodes(line, "gb18030"):
        return "It is not GB 18030 either: is it text, and is it whole? Fetch it again."
    what = f"it is {found}" if found else "Chinese text that is not UTF-8 mostly is GB 18030"
    return f"Convert the file; {what}: iconv -f {(found or 'gb18030').lower()} -t utf-8 OLD > NEW."


def encoding_of(head: bytes) -> Optional[str]:
    """The encoding of two or four bytes a sign that a byte-order mark, or the places of zeros, show; None without them.

    UTF-16 has the zeros of its line ends, digits and Latin letters all at odd places, or all at even ones. Where few of
    the bytes are zeros and all is UTF-8, they are stray ones.
    """
    marked = next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), None)
    odd, even = head[1::2].count(0), head[::2].count(0)
    if marked is not None or (odd == 0) == (even == 0):
        return marked
    cut = max(0, len(head) - 3)  # the last sign may be cut
    if 4 * (odd + even) < len(head) and any(_decodes(head[:end], "utf-8") for end in range(cut, len(head) + 1)):
        return None
    return "UTF-16LE" if odd else "UTF-16BE"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True

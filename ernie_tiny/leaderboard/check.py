"""A bundle for CLUE's or GLUE's leaderboard, by whomever it was made, line by line against the test files."""

from __future__ import annotations

import json
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Optional

from ernie_tiny.data.clue import CLUE, CLUENER
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.kinds.submission import shown
from ernie_tiny.leaderboard.clue import read_questions
from ernie_tiny.leaderboard.glue import STSB_RANGE, SUBMITTED

SPLIT_OF_FILE: Mapping[str, tuple[TaskSpec, str]] = MappingProxyType(
    {
        file: (spec, split)
        for spec in (*CLUE.values(), CLUENER, *SUBMITTED.values())
        for split, file in spec.submission.items()
    }
)
GLUE_FILES = tuple(file for spec in SUBMITTED.values() for file in spec.submission.values())
GLUE_BESIDE = ("WNLI.tsv", "AX.tsv")  # which GLUE's site wants, and which are no tasks here

FIELDS, OPTIONAL_FIELD = ("id", "label"), "label_desc"
FORM = '{"id": ..., "label": ...}'
HEADER = ["index", "prediction"]
MAX_BYTES = 64 << 20  # of CLUE's files the largest has less than 1 MB; QQP's table has 390,965 short rows
SHOWN = 10  # faults of a file
# What Python raises for a damaged zip; the names in one may be no UTF-8.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, NotImplementedError, UnicodeDecodeError),
)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass
class FileCheck:
    """What was found in one file of a bundle.

    Attributes:
        name: As the zip has it.
        checked: What was looked at: "3,861 lines", "2,000 keys".
        faults: What has to be mended, each with its line or key.
        warnings: What the known writers of such files do differently.
    """

    name: str
    checked: str = "nothing"
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def __str__(self) -> str:
        """A line for the file, then its faults, up to SHOWN, and its warnings."""
        count = len(self.faults)
        said = "valid" if not count else f"{count:,} fault{'s' * (count > 1)}"
        rest = [f"and {count - SHOWN:,} more"] if count > SHOWN else []
        warnings = [f"warning: {text}" for text in self.warnings]
        return "\n  ".join([f"{self.name:<26} {self.checked} checked: {said}", *self.faults[:SHOWN], *rest, *warnings])


class Entry(NamedTuple):
    place: str
    id: str
    answer: Any


def check_submission(bundle: Path, root: Path) -> list[FileCheck]:
    """What is wrong in each file of a zip; the files are compared with the test files below the data root.

    Raises:
        InputError: The bundle is no zip, or an empty one.
    """
    if not bundle.is_file():
        raise InputError(f"{bundle}: no such file. tools/predict.py writes one.")
    try:
        archive = zipfile.ZipFile(bundle)
    except UNREADABLE as error:
        raise InputError(
            f"{bundle}: is not a zip, or not a whole one ({error}). Put the files into one, without a "
            "folder: zip -j submit.zip *_predict.json, or *.tsv."
        ) from error
    with archive:
        members = archive.infolist()
        if not members:
            raise InputError(f"{bundle}: is a zip without a file. {offer('', SPLIT_OF_FILE)}")
        counts = Counter(member.filename for member in members)
        return [_check_member(archive, member, counts[member.filename], root) for member in members]


def missing_files(checks: Sequence[FileCheck]) -> list[str]:
    """The tables that a bundle for GLUE lacks; of one for CLUE, for each task without a file, that of CLUE 1.1."""
    names = {_base_name(check.name) for check in checks}
    if names & {*GLUE_FILES, *GLUE_BESIDE}:
        return [file for file in (*GLUE_FILES, *GLUE_BESIDE) if file not in names]
    return [next(iter(spec.submission.values())) for spec in CLUE.values() if not names & {*spec.submission.values()}]


def _base_name(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, count: int, root: Path) -> FileCheck:
    check, name = FileCheck(member.filename), _base_name(member.filename)
    if count > 1:
        check.faults.append(f"stands {count} times in the zip.")
    if name != member.filename:
        check.faults.append("stands in a folder. The site reads the top of a zip alone: zip -j makes no folders.")
    if name in GLUE_BESIDE:  # which the site scores beside its tasks
        check.warn("is of a task that is not known here, and was not looked at.")
    elif name in SPLIT_OF_FILE:
        content = _content(archive, member, check)
        if content is not None:
            _check_content(check, *SPLIT_OF_FILE[name], content, root)
    elif name:
        check.faults.append(f"is no file that the site knows. {offer(name.lower(), SPLIT_OF_FILE)}")
    return check


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, check: FileCheck) -> Optional[bytes]:
    if member.flag_bits & 1:
        check.faults.append("is encrypted. Make the zip without a password.")
        return None
    if member.file_size > MAX_BYTES:
        check.faults.append(f"unpacks to {member.file_size:,} bytes; no such file has more than {MAX_BYTES:,}.")
        return None
    try:
        content = archive.read(member)
    except UNREADABLE as error:
        check.faults.append(f"cannot be unpacked ({error}). Make the zip anew.")
        return None
    if not content.strip():
        check.faults.append("is empty.")
        return None
    if content.startswith(BYTE_ORDER_MARK):
        check.faults.append("line 1: begins with a byte-order mark. Save the file as UTF-8 without one.")
    return content.removeprefix(BYTE_ORDER_MARK)


def _check_content(check: FileCheck, spec: TaskSpec, split: str, content: bytes, root: Path) -> None:
    try:
        examples = read_questions(spec, root, split)
    except InputError as error:
        check.faults.append(f"cannot be compared with the test file: {error}")
        return
    if kind_named(spec.kind).submission.one_object:
        try:
            entries = _keys(content)
        except InputError as fault:
            check.faults.append(f"{fault} The file is one object of all answers, by their ids.")
            return
        check.checked = f"{len(entries):,} keys"
    elif spec.name in SUBMITTED:
        entries = list(_rows(check, content.removesuffix(b"\n").split(b"\n")))
        check.checked = f"{len(entries):,} rows"
    else:
        lines = content.removesuffix(b"\n").split(b"\n")
        entries = list(_lines(check, lines))
        check.checked = f"{len(lines):,} lines"
    _check_entries(check, spec, examples, entries)


# The bytes of a file to its entries.


def _lines(check: FileCheck, lines: Sequence[bytes]) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=1):
        place = f"line {number}"
        try:
            fields = _fields(place, _parsed(line, number))
        except InputError as fault:
            check.faults.append(str(fault))
            continue
        if isinstance(fields["id"], str):
            check.warn('ids are text, as in {"id": "0"}. Some writers of such files do so; most write numbers.')
        if len(fields) > len(FIELDS):
            check.warn(f"has the field {OPTIONAL_FIELD!r}, which CLUE's first baseline writes and others do not.")
        yield Entry(place, str(fields["id"]), fields["label"])


def _rows(check: FileCheck, lines: Sequence[bytes]) -> Iterator[Entry]:
    """The rows of one of GLUE's tables."""
    for number, line in enumerate(lines, start=1):
        try:
            cells = _text(line, number).split("\t")
        except InputError as fault:
            check.faults.append(str(fault))
            continue
        if number == 1 and cells != HEADER:
            check.faults.append(
                f"line 1: holds {shown(cells)}, and must hold {shown(HEADER)}, with a tab between them."
            )
        elif number > 1 and (len(cells) != len(HEADER) or not cells[0].isdecimal()):
            check.faults.append(f"line {number}: holds {shown(cells)}, and no whole number, a tab and a prediction.")
        elif number > 1:
            yield Entry(f"line {number}", cells[0], cells[1])


def _fields(place: str, record: Any) -> dict[str, Any]:
    if not isinstance(record, tuple):
        raise InputError(f"{place}: holds {shown(record)}, and no object {FORM}.")
    fields = dict(record)
    for name in FIELDS:
        if name not in fields:
            raise InputError(f"{place}: has no field {name!r}. A line is {FORM}.")
    for name in fields:
        if name not in (*FIELDS, OPTIONAL_FIELD):
            raise InputError(f"{place}: has the field {name!r}, one too many. A line is {FORM}.")
    if len(fields) < len(record):
        raise InputError(f"{place}: has a field twice. A line is {FORM}.")
    name = fields["id"]
    if type(name) is not int and not (isinstance(name, str) and name.isdecimal()):
        raise InputError(f"{place}: the id is {shown(name)}, and must be a whole number.")
    return fields


def _keys(content: bytes) -> list[Entry]:
    pairs = _parsed(content)
    if not isinstance(pairs, tuple):
        raise InputError(f"line 1: holds {shown(pairs)}.")
    return [Entry(f"key {name!r}", name, answer) for name, answer in pairs]


def _parsed(content: bytes, line: int = 1) -> Any:
    """The JSON value that begins at a line; an object becomes its pairs, so that a key that stands twice is seen."""
    text = _text(content, line)
    try:
        return json.loads(text, object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        place = f"line {line + error.lineno - 1}"
        raise InputError(f"{place}: is not JSON ({error.msg} at column {error.colno}).") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"line {line}: is not JSON ({error}).") from error


def _text(content: bytes, line: int) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line += content.count(b"\n", 0, error.start)
        raise InputError(f"line {line}: is not UTF-8 ({error.reason}: byte {content[error.start]:#x}).") from error


# The entries of a file against the examples of its test split.


def _check_entries(check: FileCheck, spec: TaskSpec, examples: Sequence[Example], entries: Sequence[Entry]) -> None:
    known = {example.id: example for example in examples}
    found, rows = [entry.id for entry in entries], list(map(str, range(len(examples))))
    if found == rows and set(found) != set(known):
        check.warn(
            "ids are the numbers of the rows, as CLUE's own baselines write them; others write the ids of the "
            f"test file, which begins with {examples[0].id}."
        )
        known = dict(zip(rows, examples))
    places: dict[str, str] = {}
    for entry in entries:
        if entry.id in places:
            check.faults.append(f"{entry.place}: the id {entry.id} stands already at {places[entry.id]}.")
            continue
        places[entry.id] = entry.place
        if entry.id not in known:
            check.faults.append(f"{entry.place}: the id {entry.id} is one too many: it is not in the test file.")
            continue
        fault, warning = kind_named(spec.kind).submission.fault(spec, known[entry.id], entry.answer)
        if warning is not None:
            check.warn(warning)
        if fault is None and spec.name in SUBMITTED and not spec.labels:
            _check_range(check, float(entry.answer))
        if fault is not None:
            check.faults.append(f"{entry.place}: {fault}")
    absent = [name for name in known if name not in places]
    if absent:
        names = ", ".join(absent[:SHOWN]) + (", ..." if len(absent) > SHOWN else "")
        check.faults.append(f"has no answer to {len(absent):,} of {len(known):,} ids of the test file: {names}.")
    if not kind_named(spec.kind).submission.one_object:
        _check_order(check, places, known)


def _check_order(check: FileCheck, places: Mapping[str, str], known: Mapping[str, Example]) -> None:
    found, wanted = (name for name in places if name in known), (name for name in known if name in places)
    for name, other in zip(found, wanted):
        if name != other:
            check.warn(f"{places[name]}: the id {name} stands where the test file has {other}: the order is another.")
            return


def _check_range(check: FileCheck, score: float) -> None:
    if not STSB_RANGE[0] <= score <= STSB_RANGE[1]:
        check.warn("has scores outside of 0 to 5, within which people gave theirs.")

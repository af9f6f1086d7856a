"""Files to raw records: text, JSON, JSON lines and tables, each fault with its place.

Files are read line by line as bytes: only "\\n" ends a line (IFLYTEK's texts hold U+2028, at which str.splitlines would
break), and a fault in the encoding has a line number. A byte-order mark, as Excel writes it, is dropped.
"""

from __future__ import annotations

import csv
import json
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional

from ernie_tiny.data.wordpiece import SURROGATES
from ernie_tiny.errors import InputError
from ernie_tiny.files import encoding_advice, encoding_of, file_head

LONGEST_FIELD = 2**31 - 1
INVISIBLE = "\ufeff\u200b"  # a byte-order mark inside a file, a space of no width


def text_lines(path: Path, progress: Callable[[int], object] = lambda _: None) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, without a byte-order mark.

    Args:
        progress: Called with each line's number of bytes.
    Raises:
        InputError: path:line, and which encoding it probably is.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            progress(len(line))
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                advice = encoding_advice(file_head(path), line)
                raise InputError(f"{path}:{number}: is not UTF-8 ({error}). {advice}") from error
            if "\0" in text and encoding_of(file_head(path)) is not None:  # Latin letters in UTF-16 are UTF-8, too
                raise InputError(f"{path}:{number}: is not UTF-8. {encoding_advice(file_head(path))}")
            yield text


def json_document(path: Path) -> Any:
    try:
        return parse_json("".join(text_lines(path)))
    except (ValueError, RecursionError) as error:
        place = f"{path}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else path
        raise InputError(f"{place}: is not JSON ({error}). Is the file whole? Fetch it again.") from error


def json_lines(path: Path, progress: Callable[[int], object] = lambda _: None) -> Iterator[tuple[str, Any]]:
    """Where a line stands and its JSON value, blank lines left out; `progress` is that of text_lines."""
    for number, line in enumerate(text_lines(path, progress), start=1):
        if line.strip():
            try:
                value = parse_json(line)
            except (ValueError, RecursionError) as error:
                at = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
                raise InputError(f"{path}:{number}: is not JSON ({at}). Every line holds one JSON object.") from error
            yield f"{path}:{number}", value


def parse_json(text: str) -> Any:
    """The JSON value of a text. Half a surrogate pair in it, which no file can hold, becomes U+FFFD.

    Raises:
        ValueError: it is not JSON, or an object has a key twice.
    """
    value = json.loads(text, object_pairs_hook=object_of)
    return _whole(value) if "\\ud" in text or "\\uD" in text else value


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, as json.loads takes it for object_pairs_hook; a ValueError names a key that stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return found


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {_whole(key): _whole(item) for key, item in value.items()} if isinstance(value, dict) else value


Row = tuple[int, Sequence[str]]  # the line that a row of a table ends on, and its fields


def table_records(
    path: Path, file_format: str, columns: Sequence[str], drop_broken: bool
) -> Iterator[tuple[str, Optional[dict[str, str]]]]:
    """Where a row of a table stands and its fields by column, None for a broken row that is to be dropped.

    A TSV file has a row a line, and quotation marks are text; in a CSV file a quoted field may hold commas, line ends
    and doubled quotation marks. Blank lines are left out.

    Args:
        file_format: "tsv" or "csv".
        columns: Names of the columns; none for a table whose first row has them.
        drop_broken: Whether a row with more or fewer fields than columns is dropped rather than an error.
    """
    rows = _tsv_rows(path) if file_format == "tsv" else _csv_rows(path)
    names = tuple(columns)
    for line, row in rows:
        if not names:
            names = tuple(row)
            twice = [name for name, times in Counter(names).items() if times > 1 and name]
            if twice:
                raise InputError(f"{path}:{line}: the column {twice[0]!r} stands twice in the header. Rename one.")
            if "\r" in "".join(names):
                raise InputError(f"{path}:{line}: the header holds a carriage return. Let lines end with LF or CR LF.")
            continue
        if columns and tuple(row) == names:
            raise InputError(
                f"{path}:{line}: is the header, and columns names what a file without one holds. Take its split out of "
                "columns, or the line out of the file."
            )
        if len(row) == len(names):
            yield f"{path}:{line}", dict(zip(names, row))
        elif drop_broken:
            yield f"{path}:{line}", None
        else:
            hint = "A text with a comma stands in quotes, which begin right behind the comma before it."
            raise InputError(
                f"{path}:{line}: has {len(row)} columns, the header {len(names)} ({', '.join(names)}). Is "
                f"file_format = {file_format!r} right? {hint if file_format == 'csv' else 'A text holds no tab.'}"
            )


def _tsv_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(text_lines(path), start=1):
        text = line.rstrip("\r\n")
        if text:
            yield number, text.split("\t")


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)  # of Python's own 131,072 characters a long document has more
    reader = csv.reader(text_lines(path), strict=True)
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            meaning = csv_error_meaning(str(error), first, reader.line_num)
            raise InputError(f"{path}:{reader.line_num}: is not CSV: {meaning}") from error
        if row is None:
            return
        if row:
            yield reader.line_num, row


def csv_error_meaning(error: str, first: int, last: int) -> str:
    """What an error of Python's CSV reader means, of a row that begins on the line `first`, met on the line `last`."""
    unclosed = f" Is a quotation mark of line {first}, where the row begins, not closed?" if first < last else ""
    for part, meaning in (
        (
            "unexpected end of data",
            f"a quotation mark in the row that begins on line {first} is not closed. Close it.",
        ),
        (
            "expected after",
            "behind a closing quotation mark stands no comma and no line's end. A quotation mark inside quotes is "
            f"doubled.{unclosed}",
        ),
        (
            "new-line character",
            "a carriage return stands alone, outside quotes. Let lines end with LF or CR LF, and put a field with line "
            "ends in quotes.",
        ),
        ("field limit", f"a field is longer than {LONGEST_FIELD:,} characters. Shorten it."),
        ("NUL", "it holds a zero byte, which Python reads in CSV from 3.11 on. Take it out."),
    ):
        if part in error:
            return meaning
    return f"{error}."


_JSON_NAMES = {dict: "an object", list: "a list", str: "text", int: "a whole number"}


def field_of(record: Any, name: str, kind: type, place: str) -> Any:
    """The field of a JSON object, checked to be there and of the kind."""
    if not isinstance(record, dict):
        raise InputError(f"{place}: is not an object with fields: {cut_json(record)}.")
    if not has_field(record, name, place):
        raise InputError(f"{place}: no field {name!r}. Fields here: {', '.join(map(str, record)) or 'none'}.")
    return checked(record[name], kind, f"{place}: {name!r}")


def has_field(record: Mapping[str, Any], name: str, place: str) -> bool:
    """Whether a record has a field.

    Raises:
        InputError: It has one whose name differs only in what does not show: blanks, a byte-order mark.
    """
    if name in record:
        return True
    alike = next((found for found in record if _visible(found) == _visible(name)), None)
    if alike is None:
        return False
    raise InputError(
        f"{place}: no field {name!r}. Fields here: {', '.join(record)}. {alike!r} differs by a blank: take it out of "
        "the file."
    )


def _visible(name: str) -> str:
    return name.strip(INVISIBLE + string.whitespace + "\xa0\u3000")


def checked(value: Any, kind: type, place: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{place} is not {_JSON_NAMES[kind]}: {cut_json(value)}.")
    return value


def id_of(record: Any, field: str, otherwise: object, place: str) -> str:
    """The id of a record as text; `otherwise` where it has none: no such field, null, or in a table an empty cell.

    Raises:
        InputError: It is neither text nor a whole number, or there is none and `otherwise` is None.
    """
    found = record[field] if isinstance(record, dict) and has_field(record, field, place) else None
    if found in (None, "") and otherwise is not None:
        return str(otherwise)
    if isinstance(found, bool) or not isinstance(found, (str, int)) or found == "":
        raise InputError(f"{place}: {field!r} = {cut_json(found)}: an id is a text or a whole number.")
    return str(found)


def cut_json(value: Any, width: int = 80) -> str:
    """A JSON value in a message, cut to so many characters."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= width else text[: width - 3] + "..."

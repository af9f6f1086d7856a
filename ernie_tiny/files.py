"""What is written and read as text: JSON that every reader takes, and advice where a file is in another encoding."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ernie_tiny.errors import InputError

BYTE_ORDER_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


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


def file_head(path: Path) -> bytes:
    """The first bytes of a file, by which encoding_advice knows its encoding."""
    with path.open("rb") as file:
        return file.read(256)


def encoding_advice(content: bytes) -> str:
    """How to convert what is not UTF-8, by its first bytes or line: UTF-16 and UTF-32 show themselves."""
    found = encoding_of(content)
    what = f"it is {found}" if found else "Chinese text that is not UTF-8 mostly is GB 18030"
    return f"Convert the file; {what}: iconv -f {(found or 'gb18030').lower()} -t utf-8 OLD > NEW."


def encoding_of(content: bytes) -> Optional[str]:
    """The encoding that a byte-order mark, or zeros in every second byte, show; None without them."""
    marked = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if marked is not None or len(content) < 4:
        return marked
    for name, zeros, others in (
        ("UTF-16LE", content[1:200:2], content[:200:2]),
        ("UTF-16BE", content[:200:2], content[1:200:2]),
    ):
        if zeros.count(0) > len(zeros) // 2 and others.count(0) < len(others) // 4 + 1:
            return name
    return None

"""What a client asks, read from its request within limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from fastapi import Request
from starlette.requests import ClientDisconnect

from ernie_tiny.data.records import object_of
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.wordpiece import SURROGATES
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.kind import Records
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.serving.predictor import Predictor, Question

GONE = 499  # the status, in logs and metrics alone, of a request whose client left before it was whole


@dataclass(frozen=True)
class Limits:
    """What a client may ask.

    Attributes:
        body: Bytes of a request.
        inputs: Texts or records of a request.
        candidates: Of a question. The network reads the text once for each, and all of a question at once.
        sequences: Of a request: the candidates of all its questions; a question without some is one.
        characters: Of one of its texts.
        batch: Examples that are answered together.
        room: Examples of a model that may wait; beyond them a request gets 429.
        wait: Seconds that a lone question waits for others.
        seconds: Until a request must have come in whole, and again until it must be answered.
    """

    body: int = 1_000_000
    inputs: int = 512
    candidates: int = 64
    sequences: int = 4096
    characters: int = 20_000
    batch: int = 32
    room: int = 2048
    wait: float = 0.002
    seconds: float = 30.0


class RefusedError(Exception):
    """A request that gets a status of 4xx or 503, with what is wrong and what to do."""

    def __init__(self, status: int, said: str, headers: Optional[Mapping[str, str]] = None) -> None:
        super().__init__(said)
        self.status, self.headers = status, dict(headers or {})


async def body_of(request: Request, limits: Limits) -> Any:
    """The JSON of a request, not a byte more of it than is allowed, and not later.

    Raises:
        RefusedError: it is too large, late, no JSON, has a key twice in an object, or its client has gone.
    """
    parts, size = [], 0
    too_large = RefusedError(413, f"a request may have {limits.body:,} bytes")

    async def read() -> None:
        nonlocal size
        async for part in request.stream():
            size += len(part)
            if size > limits.body:
                raise too_large
            parts.append(part)

    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limits.body:
        raise too_large
    try:
        await asyncio.wait_for(read(), limits.seconds)
    except asyncio.TimeoutError:
        raise RefusedError(408, f"the request did not come in {limits.seconds:g} s", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise RefusedError(GONE, "the client has gone") from None
    try:
        return json.loads(b"".join(parts).decode("utf-8"), object_pairs_hook=object_of)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is not JSON in UTF-8: {str(error)[:200]}") from None


def questions_of(body: Any, predictor: Predictor, limits: Limits, asked_before: int) -> list[Example]:
    """The questions of a request.

    Args:
        asked_before: A number that no other request has.
    Raises:
        RefusedError: it holds none, too many, or some that are no questions of the task.
    """
    given = body if isinstance(body, dict) else {}
    asked = [key for key in ("texts", "inputs") if key in given]
    if len(asked) != 1 or not isinstance(given[asked[0]], list):
        raise RefusedError(422, 'the body is an object with a list "texts" or a list "inputs"')
    items = given[asked[0]]
    if not items or len(items) > limits.inputs:
        said = f"a request has 1 to {limits.inputs} of {asked[0]}, not {len(items)}"
        raise RefusedError(422 if not items else 413, said)
    try:
        for number, item in enumerate(items):
            _check_texts(f"{asked[0]}[{number}]", item, limits.characters)
        if asked[0] == "inputs":
            records = [(f"inputs[{number}]", item) for number, item in enumerate(items)]
            found = _bounded(predictor.spec, records, limits)
        else:
            questions: list[Question] = [tuple(item) if isinstance(item, list) else item for item in items]
            found = predictor.examples(questions)
    except InputError as error:
        raise RefusedError(422, str(error)) from None
    except RecursionError:
        raise RefusedError(422, f"{asked[0]} are nested too deeply") from None
    # Passages of one request share what they choose from; those of two requests in one batch do not.
    return [replace(each, group=f"{asked_before}/{each.group}") if each.group else each for each in found]


def _bounded(spec: TaskSpec, records: Records, limits: Limits) -> list[Example]:
    """The examples of records; no more are made than may be, because a short record can ask for very many."""
    found, sequences = list[Example](), 0
    for place, example in kind_named(spec.kind).inputs(spec, records):
        if example is None:
            continue
        count = len(example.candidates)
        sequences += max(1, count)
        if count > limits.candidates:
            raise RefusedError(413, f"{place} has {count:,} candidates; {limits.candidates:,} may be")
        if sequences > limits.sequences:
            said = f"the questions up to {place} have {sequences:,} candidates together; {limits.sequences:,} may be"
            raise RefusedError(413, f"{said}. Ask in several requests")
        found.append(example)
    return found


def _check_texts(place: str, item: Any, longest: int) -> None:
    texts = _strings(item)
    for text in texts:
        if len(text) > longest:
            raise RefusedError(413, f"{place} has a text of {len(text):,} characters; {longest:,} may be")
    for text in _strings(item, with_keys=True):  # an error quotes the keys too
        half = SURROGATES.search(text)
        if half:  # which JSON can say, and no text can hold
            raise RefusedError(422, f"{place} has half a character: \\u{ord(half[0]):04x}")
    if texts and not any(text.strip() for text in texts):
        raise RefusedError(422, f"{place} is empty: there is nothing to answer")


def _strings(value: Any, with_keys: bool = False) -> list[str]:
    if isinstance(value, str):
        return [value]
    keys = list(value) if with_keys and isinstance(value, dict) else []
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*keys, *(text for child in children for text in _strings(child, with_keys))]

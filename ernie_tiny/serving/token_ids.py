"""What an exported network is given, for programs that run it without this package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ernie_tiny.data.task import Example
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.serving.exported import read_spec


def token_ids(folder: Path, examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
    """A record for each feature of the examples, in order: its id, input_ids and token_type_ids.

    The two are lists of sequences, of whole numbers without padding: one sequence, or one for each candidate. A long
    example may give several records of its id, next to each other.

    Args:
        folder: That tools/export.py wrote; its vocabulary and input length are taken.
    Raises:
        InputError: the folder is none, or is damaged.
    """
    spec = read_spec(folder)
    for feature in featurise(spec, examples, load_tokenizer(folder), spec.max_length):
        ids, types = ([part.tolist() for part in parts] for parts in zip(*feature.sequences))
        yield {"id": feature.example_id, "input_ids": ids, "token_type_ids": types}

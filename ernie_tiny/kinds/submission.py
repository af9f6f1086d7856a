"""How a leaderboard's file has the answers of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

from ernie_tiny.data.records import cut_json
from ernie_tiny.data.task import Example, Prediction, TaskSpec


@dataclass(frozen=True)
class Submission:
    """How a leaderboard's file has the answers.

    Attributes:
        one_object: One JSON object of all answers by their ids, and not a line for each example.
        value: Of a prediction the JSON value. Raises an InputError for an answer that is none of the task's.
        fault: Of an example and a JSON value in somebody's file what is wrong with it and what only other writers do
            differently, each None or the end of a sentence.
    """

    one_object: bool
    value: Callable[[TaskSpec, Prediction], Any]
    fault: Callable[[TaskSpec, Example, Any], tuple[Optional[str], Optional[str]]]


def shown(value: Any) -> str:
    """A value of a leaderboard's file in a message, cut to 60 characters; an object is a tuple of its pairs."""
    return "an object" if isinstance(value, tuple) else cut_json(value, 60)

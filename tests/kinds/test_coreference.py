"""The marks of the two spans in a text of CLUEWSC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.read import read_split

COREFERENCE = TaskSpec("toy", "coreference", {"train": ("train.jsonl",)}, ("text",), ("true", "false"))


def read(root: Path, target: Any) -> Example:
    """The example of one sentence with these spans."""
    record = {"text": "洋人说他们来了", "target": target, "label": "true"}
    (root / "train.jsonl").write_text(json.dumps(record), encoding="utf-8")
    (example,) = read_split(COREFERENCE, root, "train").examples
    return example


@pytest.mark.parametrize(
    ("first", "second", "marked"),
    [
        (("洋人", 0), ("他们", 3), "_洋人_说[他们]来了"),
        (("他们", 3), ("洋人", 0), "[洋人]说_他们_来了"),
        (("洋人", 0), ("说他们", 2), "_洋人_[说他们]来了"),  # they touch
        (("说他们", 2), ("洋人", 0), "[洋人]_说他们_来了"),
        (("洋人说他们", 0), ("他", 3), "_洋人说[他]们_来了"),  # one lies in the other
        (("他", 3), ("洋人说他们", 0), "[洋人说_他_们]来了"),
        (("洋人说", 0), ("洋人", 0), "_[洋人]说_他们来了"),  # and begins with it
        (("洋人", 0), ("洋人说", 0), "[_洋人_说]他们来了"),
        (("说他们", 2), ("他们", 3), "洋人_说[他们]_来了"),  # and ends with it
        (("他们", 3), ("说他们", 2), "洋人[说_他们_]来了"),
        (("他们", 3), ("他们", 3), "洋人说_[他们]_来了"),
    ],
)
def test_spans_are_marked_in_either_order_wherever_they_stand(
    tmp_path: Path, first: Any, second: Any, marked: str
) -> None:
    target = {"span1_text": first[0], "span1_index": first[1], "span2_text": second[0], "span2_index": second[1]}
    assert read(tmp_path, target).texts == (marked,)


@pytest.mark.parametrize("turned", [False, True])
def test_spans_that_cross_are_refused_by_place(tmp_path: Path, turned: bool) -> None:
    (first, at), (second, there) = (
        reversed([("洋人说", 0), ("说他们", 2)]) if turned else [("洋人说", 0), ("说他们", 2)]
    )
    target = {"span1_text": first, "span1_index": at, "span2_text": second, "span2_index": there}
    with pytest.raises(InputError, match=r"train\.jsonl:1: span1 and span2 cross: characters 0 to 3 and 2 to 5"):
        read(tmp_path, target)

"""What there is to say in a terminal of one model on one task: the records of tools/evaluate.py as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ernie_tiny.report.tables import Table, terminal_text

# Keys of a record that are the same for every kind of task.
NOT_OF_A_KIND = ("model", "task", "split", "examples", "scores", "intervals", "agreement", "broken")
MOST_FREQUENT = 10  # confusions that are listed where the matrix does not fit


def detail_lines(record: Mapping[str, Any]) -> list[str]:
    """Scores with their intervals in one line; then agreement and the details of the task's kind, indented.

    Of these an object of labels and counts is a matrix, and of a list of objects (the worst answers of reading) each is
    a line.
    """
    ends = record["intervals"]
    scores = "  ".join(
        f"{name} {score:.2f} [{ends[name][0]:.2f}, {ends[name][1]:.2f}]" for name, score in record["scores"].items()
    )
    where = f"{record['model']:<28} {record['task']:<12} {record['split']}, {record['examples']} examples"
    lines = []
    if "agreement" in record:
        lines.append(f"agreement with {record['agreement']['with']}: {record['agreement']['percent']:.2f} %")
    if record.get("broken"):
        lines.append(f"sequences of most probable tags that do not keep to their scheme: {record['broken']}")
    for name, value in record.items():
        if name in NOT_OF_A_KIND:
            continue
        if isinstance(value, Mapping):
            lines += confusion_lines(value["labels"], value["counts"])
        else:
            lines += ["  ".join(f"{key} {_shown(item)}" for key, item in entry.items()) for entry in value]
    return [f"{where}: {scores}", *(f"    {line}" for line in lines)]


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " | ".join(dict.fromkeys(map(_shown, value)))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def confusion_lines(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[str]:
    """The matrix, rows being right and columns given; of one too wide for a terminal its most frequent confusions."""
    table = Table(["right \\ given", *labels], [[[label, *map(str, row)] for label, row in zip(labels, counts)]])
    if len(list(table.for_terminal())) == 1:
        return terminal_text([table]).splitlines()
    places = [(row, column) for row in range(len(labels)) for column in range(len(labels)) if row != column]
    frequent = sorted(places, key=lambda place: -counts[place[0]][place[1]])[:MOST_FREQUENT]
    found = [(labels[row], labels[column], counts[row][column]) for row, column in frequent if counts[row][column]]
    return [f"{right} taken for {given}: {count} times" for right, given, count in found]

"""What there is to say in a terminal of one model on one task: the records of tools/evaluate.py as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ernie_tiny.report.tables import Table, terminal_text

MOST_FREQUENT = 10  # confusions that are listed where the matrix does not fit


def detail_lines(record: Mapping[str, Any]) -> list[str]:
    """Scores with their intervals in one line; then agreement, confusion matrix or worst answers, indented."""
    ends = record["intervals"]
    scores = "  ".join(
        f"{name} {score:.2f} [{ends[name][0]:.2f}, {ends[name][1]:.2f}]" for name, score in record["scores"].items()
    )
    where = f"{record['model']:<28} {record['task']:<12} {record['split']}, {record['examples']} examples"
    lines = []
    if "agreement" in record:
        lines.append(f"agreement with {record['agreement']['with']}: {record['agreement']['percent']:.2f} %")
    if "confusion" in record:
        lines += confusion_lines(record["confusion"]["labels"], record["confusion"]["counts"])
    for answer in record.get("worst", ()):
        answers = " | ".join(dict.fromkeys(answer["references"]))
        lines.append(f"F1 {answer['f1']:6.2f}  {answer['id']}  {answer['prediction']!r} for {answers}")
    return [f"{where}: {scores}", *(f"    {line}" for line in lines)]


def confusion_lines(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[str]:
    """The matrix, rows being right and columns given; of one too wide for a terminal its most frequent confusions."""
    table = Table(["right \\ given", *labels], [[[label, *map(str, row)] for label, row in zip(labels, counts)]])
    if len(list(table.for_terminal())) == 1:
        return terminal_text([table]).splitlines()
    places = [(row, column) for row in range(len(labels)) for column in range(len(labels)) if row != column]
    frequent = sorted(places, key=lambda place: -counts[place[0]][place[1]])[:MOST_FREQUENT]
    found = [(labels[row], labels[column], counts[row][column]) for row, column in frequent if counts[row][column]]
    return [f"{right} taken for {given}: {count} times" for right, given, count in found]

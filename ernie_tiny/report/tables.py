"""Tables for a terminal, for Markdown and for a self-contained HTML page."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template

TERMINAL_WIDTH = 110  # columns that do not fit go below

Rows = list[list[str]]


def width(text: str) -> int:
    """Columns on a terminal: a CJK character takes two, a combining mark none."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def text_row(row: Sequence[str], sizes: Sequence[int]) -> str:
    """A line of cells in columns of these widths: the first flush left, the others flush right."""
    name, *cells = (" " * (size - width(cell)) + cell for size, cell in zip(sizes, row))
    return "  ".join([row[0].ljust(len(name)), *cells]).rstrip()


def text_lines(rows: Rows) -> list[str]:
    """The rows as lines, each column as wide as its widest cell; columns that do not fit the terminal go below."""
    widths = [max(map(width, cells)) for cells in zip(*rows)]
    blocks = [
        [text_row([row[c] for c in columns], [widths[c] for c in columns]) for row in rows] for columns in fold(widths)
    ]
    return [line for block in blocks for line in (*block, "")][:-1]


def fold(widths: Sequence[int], split: int = 0) -> list[list[int]]:
    """Columns of each block: a new one starts at the split and where a line would not fit the terminal."""
    blocks = [[0]]
    for column in range(1, len(widths)):
        used = sum(widths[other] + 2 for other in blocks[-1])
        if column == split or (used + widths[column] > TERMINAL_WIDTH and len(blocks[-1]) > 1):
            blocks.append([0])
        blocks[-1].append(column)
    return blocks


def markdown_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, the first column flush left."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    cells = ([" ".join(cell.replace("|", "\\|").split()) for cell in line] for line in lines)
    return [f"| {' | '.join(line)} |" for line in cells]


def html_table(section: str, header: Sequence[str], groups: Iterable[Rows], classes: Mapping[str, str]) -> str:
    """A table that its section's title names; `classes` gives rows a class by their name."""
    heads = (html.escape(cell).replace("\n", "<br>") for cell in header)
    named = f'aria-labelledby="{section}-title"'
    lines = [f'<div class="wide" role="region" tabindex="0" {named}><table {named}>', "<thead><tr>"]
    lines += [*(f'<th scope="col">{cell}</th>' for cell in heads), "</tr></thead>"]
    for group in filter(None, groups):
        lines.append("<tbody>")
        for name, *cells in group:
            css = f' class="{classes[name]}"' if name in classes else ""
            data = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            lines.append(f'<tr{css}><th scope="row">{html.escape(name)}</th>{data}</tr>')
        lines.append("</tbody>")
    return "\n".join([*lines, "</table></div>"])


def html_list(notes: Sequence[str]) -> str:
    return f'\n<ul class="notes">{"".join(f"<li>{html.escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def html_section(name: str, title: str, content: str) -> str:
    """A titled part of a page; nothing where it has no content."""
    return f'<section id="{name}">\n<h2 id="{name}-title">{title}</h2>\n{content}\n</section>' if content else ""


def html_document(title: str, verdict: str, sections: Iterable[str]) -> str:
    """A page of sections that needs no network and no script; the verdict stands below the title."""
    template = Template(Path(__file__).with_name("templates").joinpath("page.html").read_text(encoding="utf-8"))
    content = "\n".join(filter(None, sections))
    return template.substitute(title=html.escape(title), verdict=html.escape(verdict), sections=content)

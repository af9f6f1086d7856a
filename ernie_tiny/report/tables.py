"""Tables as values, and what they become in Markdown and on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from textwrap import TextWrapper
from typing import Optional, Union

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

TERMINAL_WIDTH = 110  # columns that do not fit go below
WRAP = TextWrapper(TERMINAL_WIDTH, break_long_words=False, break_on_hyphens=False)  # rich breaks long words
# Of rich's nine kinds of lines those below the header and between groups of rows are dashes, the others are none.
RULES = Box("    \n    \n -- \n    \n -- \n    \n    \n    \n", ascii=True)
Rows = list[list[str]]


@dataclass(frozen=True)
class Table:
    """Rows below a header, in groups, the first cell a row's name; `classes` gives rows a class by their name.

    A heading may have two lines.
    """

    header: Sequence[str]
    groups: Sequence[Rows]
    classes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *groups: Sequence[Mapping[str, str]], classes: Optional[Mapping[str, str]] = None) -> Table:
        """The table of rows that are given as heading to cell; columns in which none has anything are left out."""
        rows = [row for group in groups for row in group]
        headings = dict.fromkeys(heading for row in rows for heading in row)
        used = [heading for heading in headings if any(row.get(heading, "-") not in ("", "-") for row in rows)]
        cells = [[[row.get(heading, "") for heading in used] for row in group] for group in groups]
        return cls(used, cells, classes or {})

    def __bool__(self) -> bool:
        return any(self.groups)

    def markdown(self) -> str:
        """The rows as a Markdown table, the first column flush left."""
        ruler = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [self.header, ruler, *(row for group in self.groups for row in group)]
        cells = ([" ".join(cell.replace("|", "\\|").split()) for cell in line] for line in lines)
        return "\n".join(f"| {' | '.join(line)} |" for line in cells)

    def for_terminal(self) -> Iterable[RichTable]:
        """Tables that fit a terminal: columns for which there is no room go below, beside the names again."""
        columns = list(zip(self.header, *(row for group in self.groups for row in group)))
        widths = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
        blocks = [[0]]
        for column in range(1, len(widths)):
            used = sum(widths[other] + 2 for other in blocks[-1])
            if used + widths[column] > TERMINAL_WIDTH and len(blocks[-1]) > 1:
                blocks.append([0])
            blocks[-1].append(column)
        for block in blocks if columns else ():
            table = RichTable(box=RULES, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
            for column in block:
                justify: JustifyMethod = "right" if column else "left"
                table.add_column(Text(self.header[column]), justify=justify, vertical="bottom", no_wrap=True)
            for group in self.groups:
                for row in group:
                    table.add_row(*(Text(row[column]) for column in block))
                table.add_section()
            yield table


def terminal_text(parts: Iterable[Union[str, Table]]) -> str:
    """Lines that fit a terminal, an empty one after each table; a word that is longer than a line is not broken."""
    console = Console(file=StringIO(), width=TERMINAL_WIDTH, color_system=None, legacy_windows=False)
    for part in parts:
        if isinstance(part, str):
            console.print(WRAP.fill(part), markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            for block in part.for_terminal():
                console.print(block, "", sep="\n")
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())

"""Sections and pages as values, and the HTML and Markdown that templates make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

from jinja2 import Environment, PackageLoader, StrictUndefined

from ernie_tiny.report.charts import COLOURS, Chart
from ernie_tiny.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A titled part of a page; it is left out where it has no content.

    Attributes:
        layout: Of the charts: "figures" stand side by side, "plots" are larger and two in a row.
        folded: Charts that are folded away below a summary.
    """

    name: str
    title: str
    table: Optional[Table] = None
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()
    layout: str = "figures"
    folded: Mapping[str, Sequence[Chart]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.table or self.charts or self.notes or self.folded)


@dataclass(frozen=True)
class Page:
    """Sections below a title and a verdict."""

    title: str
    verdict: str
    sections: Sequence[Section]

    def html(self) -> str:
        """One file that needs no network and no script."""
        return rendered("page.html", page=self, colours=COLOURS)

    def markdown(self) -> str:
        """The sections that have a table, without the charts."""
        return rendered("page.md", page=self)


def rendered(template: str, **values: object) -> str:
    """A file of the folder of templates with these values; what stands in HTML is escaped."""
    environment = Environment(
        loader=PackageLoader("ernie_tiny.report"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)

"""Every kind by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ernie_tiny.kind_facts import foreign_kind
from ernie_tiny.kinds.choice import MULTIPLE_CHOICE
from ernie_tiny.kinds.classification import CLASSIFICATION, COREFERENCE, KEYWORDS, PAIR, REGRESSION
from ernie_tiny.kinds.cloze import CLOZE
from ernie_tiny.kinds.kind import Kind
from ernie_tiny.kinds.labelling import LABELLING
from ernie_tiny.kinds.reading import READING

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.facts.name: kind
        for kind in (
            *(CLASSIFICATION, PAIR, KEYWORDS, COREFERENCE, REGRESSION),
            *(MULTIPLE_CHOICE, CLOZE, READING, LABELLING),
        )
    }
)


def kind_named(name: str) -> Kind:
    """The kind of this name, of this project or of another package.

    Raises:
        InputError: There is no such kind, or the package that has it cannot be imported.
    """
    return KINDS[name] if name in KINDS else foreign_kind(name)

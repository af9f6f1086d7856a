"""Plain facts of the families of encoders, for the config, which is read without Paddle, and for models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Optional

from ernie_tiny.errors import InputError


@dataclass(frozen=True)
class FamilyFacts:
    """What is known of a family without building one of its encoders.

    Attributes:
        name: The key `family` of a config, and the model_type of a folder's config.json.
        positions_behind_padding: A text's first token takes the row of the position embedding behind that of
            pad_token_id, as in fairseq: of 514 rows with <pad> = 1 there are 512 for tokens.
    """

    name: str
    positions_behind_padding: bool = False

    def first_position(self, pad_token_id: int) -> int:
        """The row of the position embedding that a text's first token takes; those before it are never used."""
        return pad_token_id + 1 if self.positions_behind_padding else 0


FACTS: Mapping[str, FamilyFacts] = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            FamilyFacts("ernie"),
            FamilyFacts("bert"),
            FamilyFacts("roberta", positions_behind_padding=True),
            FamilyFacts("bilstm"),
        )
    }
)


def facts_of_folder(config: Mapping[str, Any], place: object) -> FamilyFacts:
    """The facts of the family that a folder's config.json names.

    Args:
        config: The content of the config.json.
        place: What an error calls the folder.
    Raises:
        InputError: it names none of FACTS.
    """
    family = config.get("model_type") or _of_class(config.get("architectures"))
    if family not in FACTS:
        named = "names no model_type" if family is None else f"names the model_type {family!r}"
        raise InputError(
            f"{place}: its config.json {named}, and models of that kind cannot be used here: their inputs, outputs or "
            f"layers are others. Families that can: {', '.join(FACTS)}."
        )
    return FACTS[str(family)]


def _of_class(architectures: Any) -> Optional[str]:
    """The family of a class's name, as older folders have it alone: "bert" of ["BertForMaskedLM"]."""
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    found = re.match(r"(\w+?)(Model|For)", first) if isinstance(first, str) else None
    return found[1].lower() if found else None

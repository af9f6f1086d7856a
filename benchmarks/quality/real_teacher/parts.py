"""The parts of the study in the order in which they run: each is one run of tools/train.py in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

HERE = Path(__file__).resolve().parent
RATES = ("3.0e-5", "1.0e-4", "2.0e-4")  # of the grid
TEACHERS = "teachers"


@dataclass(frozen=True)
class Part:
    """One run.

    Attributes:
        name: Its folder below the output.
        config: The file beside this one, without its ending.
        base: The part whose models it goes on from.
        settings: Overrides of the config.
        at_rate: Stages that train at the rate that won the grid.
    """

    name: str
    config: str
    base: Optional[str] = None
    settings: tuple[str, ...] = ()
    at_rate: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        return HERE / f"{self.config}.yaml"


def grid() -> list[Part]:
    return [Part(f"grid/{rate}", "grid", settings=(f"stages.rate.optim.learning_rate={rate}",)) for rate in RATES]


def queue() -> list[Part]:
    """Every part, a part that another goes on from before it."""
    return [*grid(), Part(TEACHERS, "teachers", at_rate=("finetune-teacher", "enhance"))]

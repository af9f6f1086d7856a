"""Distil Chinese ERNIE 3.0 models into students ten times smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ernie_tiny.serving.predictor import Predictor as Predictor

__version__ = "0.1.0"
__all__ = ["Predictor"]


def __getattr__(name: str) -> Any:
    """Predictor, imported when it is first asked for: it needs Paddle, and checks of configs go on without."""
    if name != "Predictor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ernie_tiny.serving.predictor import Predictor

    return Predictor

"""The paths of a command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.files import at_home


def paths_at_home(values: argparse.Namespace) -> argparse.Namespace:
    """The arguments with every path's `~` in place: the shell leaves one as it is behind an equals sign."""
    for name, value in vars(values).items():
        if isinstance(value, Path):
            setattr(values, name, Path(at_home(str(value))))
        elif isinstance(value, list):
            setattr(values, name, [Path(at_home(str(one))) if isinstance(one, Path) else one for one in value])
    return values

"""What several commands share: the arguments of a config, the paths of a command line, the log."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path
from typing import Callable

from ernie_tiny.files import at_home


def add_config(parser: argparse.ArgumentParser, required: bool = True, note: str = "") -> None:
    """Adds -c, with a note behind its help, and -o."""
    parser.add_argument("-c", "--config", required=required, help=f"YAML file{note}")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Adds -o, which may stand several times."""
    parser.add_argument(
        "-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="a.b=v, stages.NAME.x=v"
    )


def above(low: float, kind: type = int, low_too: bool = False) -> Callable[[str], float]:
    """A type for argparse: finite numbers above one, whole ones by default; `low_too`: or that one."""

    def number(text: str) -> float:
        value: float = kind(text)
        if not (low < value < math.inf or low_too and value == low):  # NaN is not, either
            raise argparse.ArgumentTypeError(f"{text}: must be {'at least' if low_too else 'above'} {low:g}")
        return value

    return number


def show_log() -> None:
    """Shows what the packages log, from information on, beside the output of a command."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


def paths_at_home(values: argparse.Namespace) -> argparse.Namespace:
    """The arguments with every path's `~` in place: the shell leaves one as it is behind an equals sign."""
    for name, value in vars(values).items():
        if isinstance(value, Path):
            setattr(values, name, Path(at_home(str(value))))
        elif isinstance(value, list):
            setattr(values, name, [Path(at_home(str(one))) if isinstance(one, Path) else one for one in value])
    return values

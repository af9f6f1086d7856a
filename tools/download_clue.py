#!/usr/bin/env python3
"""Fetches CLUE's official archives: python tools/download_clue.py --root data --tasks afqmc tnews."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ernie_tiny.data.download import ARCHIVES, install
from ernie_tiny.errors import InputError
from ernie_tiny.runtime import run_tool


def parse_args() -> argparse.Namespace:
    tasks = list(ARCHIVES)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="gets clue/ and zips/")
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks, help="all by default")
    parser.add_argument("--from-zip", type=Path, metavar="FILE", help="zip of the one task of --tasks")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.from_zip and len(args.tasks) != 1:
        raise InputError(f"--from-zip {args.from_zip}: name the one task that it holds, as in --tasks tnews.")
    for task in args.tasks:
        print(install(ARCHIVES[task], args.root, args.from_zip), flush=True)


if __name__ == "__main__":
    run_tool(main)

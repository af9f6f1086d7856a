"""Fetches CLUE's official archives: python tools/download_clue.py --root data --tasks afqmc tnews."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.data.download import ARCHIVES, install
from ernie_tiny.errors import InputError
from ernie_tiny.files import alone_at
from ernie_tiny.runs.references import check_output_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tasks = list(ARCHIVES)
    parser.add_argument("--root", type=Path, default=Path("data"), help="gets clue/ and zips/")
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks, help="all by default")
    parser.add_argument("--from-zip", type=Path, metavar="FILE", help="zip of the one task of --tasks")


def main(args: argparse.Namespace) -> None:
    if args.from_zip and len(args.tasks) != 1:
        raise InputError(f"--from-zip {args.from_zip}: name the one task that it holds, as in --tasks tnews.")
    check_output_folder("--root", args.root)
    with alone_at(args.root / "clue"):
        for task in args.tasks:
            print(install(ARCHIVES[task], args.root, args.from_zip), flush=True)

"""Compares runs in one page: python tools/report.py output/a output/b --output output/comparison."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.runs.references import check_output_folder
from ernie_tiny.runs.run_folders import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder, finished or not")
    parser.add_argument("--output", type=Path, required=True, help="folder for report.html and report.md")


def main(args: argparse.Namespace) -> None:
    check_output_folder("--output", args.output)
    for file in write_report(args.runs, args.output):
        print(file)

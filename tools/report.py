#!/usr/bin/env python3
"""Compares runs in one page: python tools/report.py output/a output/b --output output/comparison."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ernie_tiny.runs.run_folders import write_report
from ernie_tiny.runtime import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder, finished or not")
    parser.add_argument("--output", type=Path, required=True, help="folder for report.html and report.md")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    for file in write_report(args.runs, args.output):
        print(file)


if __name__ == "__main__":
    run_tool(main)

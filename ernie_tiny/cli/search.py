"""Runs a grid of settings: tools/search.py -c CONFIG --grid stages.finetune.optim.learning_rate=1e-5,2e-5 seed=1,2,3.

Each setting with each seed is a run of tools/train.py in a folder of its own; the same command again goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ernie_tiny.cli.arguments import above, add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--grid", nargs="+", action="extend", required=True, metavar="KEY=V1,V2", help="* in a key: each name; seed=1,2"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for all runs, search.json, .md and .html")
    parser.add_argument("--jobs", type=above(0), default=1, help="runs at a time, which share the CPU's threads")
    parser.add_argument("--score", metavar="MODEL@STAGE", help="whose scores count; by default the report's student")
    parser.add_argument("--check", action="store_true", help="validate every config, print the runs, train nothing")


def main(args: argparse.Namespace) -> None:
    from ernie_tiny.runs.references import check_output_folder
    from ernie_tiny.runs.search import outline, plan_search, run_search

    check_output_folder("--output", args.output)
    search = plan_search(args.config, args.override, args.grid, args.output, args.score)
    if args.check:
        print(outline(search))
        return
    command = [sys.executable, str(Path(__file__).with_name("__main__.py")), "train"]
    for line in run_search(search, args.output, command, args.jobs):
        print(line, flush=True)

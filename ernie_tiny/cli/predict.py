"""Writes a leaderboard's bundle: tools/predict.py --models output/x --data data --output submit.zip."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.cli.arguments import above
from ernie_tiny.leaderboard.clue import BOARDS
from ernie_tiny.runs.references import check_output_file
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="run folder, or exported models")
    parser.add_argument("--data", type=Path, required=True, help="data root, which holds clue/ (or glue/)")
    parser.add_argument("--output", type=Path, required=True, metavar="ZIP")
    parser.add_argument("--leaderboard", choices=("clue", "glue"), default="clue")
    parser.add_argument("--tasks", nargs="+", help="by default all of the leaderboard's that the models answer")
    parser.add_argument("--split", nargs="+", choices=BOARDS, default=["test"], help="CLUE 1.1's (test), CLUE 1.0's")
    parser.add_argument("--reference", help="model@stage of a run; by default its report's student")
    parser.add_argument("--device", default="auto", help="of a run; exported models use the CPU")
    parser.add_argument("--threads", type=above(-1), default=0, help="CPU threads; 0 takes every core")


def main(args: argparse.Namespace) -> None:
    check_output_file("--output", args.output)
    prepare(args.device, args.threads)
    from ernie_tiny.runs.submit import submit

    lines = submit(
        args.models, args.data, args.output, args.leaderboard, args.split, args.tasks, args.reference, args.threads
    )
    for line in lines:
        print(line, flush=True)
    print(f"{args.output} is written. Check it: tools/check_submission.py {args.output} --data {args.data}")
    if args.leaderboard == "glue":
        print("GLUE's site wants WNLI.tsv and AX.tsv in it, too, which are no tasks here.")

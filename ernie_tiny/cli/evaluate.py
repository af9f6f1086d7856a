"""Scores models of a run: python tools/evaluate.py --run output/x --models student@finetune --tasks tnews."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.cli.arguments import above, add_overrides
from ernie_tiny.config import load_run
from ernie_tiny.errors import InputError
from ernie_tiny.runs.references import check_models, check_output_folder, check_tasks
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run folder that tools/train.py wrote")
    parser.add_argument("--models", nargs="+", help="model@stage; by default those that the report compares")
    parser.add_argument("--tasks", nargs="+", help="by default those of each model's stage")
    parser.add_argument("--split", default="dev", help="a split with labels")
    parser.add_argument("--examples", type=above(0), help="draw so many, by the hash of their texts")
    parser.add_argument("--output", type=Path, help="folder for <model@stage>/<task>.jsonl and evaluation.json")
    add_overrides(parser)


def main(args: argparse.Namespace) -> None:
    run = load_run(args.run, args.override)
    references = args.models or list(run.report.models.values())
    if not references:
        raise InputError(f"--models: the report of {run.name} compares none. Name those to score: MODEL@STAGE.")
    check_models(run, references)
    for reference in references:
        check_tasks(run, reference, args.tasks or run.stage_of(reference).data.tasks, args.split)
    if args.output is not None:
        check_output_folder("--output", args.output)
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny.report.details import detail_lines
    from ernie_tiny.runs.scoring import evaluate_models

    print("Scores in percent, with their 95 % intervals over the choice of examples (bootstrap, 1,000 resamples).")
    for record in evaluate_models(run, args.models, args.tasks, args.split, args.examples, args.output):
        print(*detail_lines(record), sep="\n", flush=True)

"""Runs the stages of a config: python tools/train.py -c configs/quickstart.yaml [-o key=value ...] [--check]."""

from __future__ import annotations

import argparse

from ernie_tiny.cli.arguments import add_config, show_log
from ernie_tiny.config import load_config
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true", help="validate, print the plan, train nothing")
    either.add_argument("--cost", action="store_true", help="the plan with hours, by a minute of measuring here")


def main(args: argparse.Namespace) -> None:
    show_log()
    run = load_config(args.config, args.override)
    if args.check:
        from ernie_tiny.runs.plan import plan

        print(plan(run))
        return
    prepare(run.runtime.device, run.runtime.threads)
    if args.cost:
        from ernie_tiny.runs.calibration import measure_cost
        from ernie_tiny.runs.cost import cost_lines
        from ernie_tiny.runs.plan import plan

        found = measure_cost(run)  # before the plan: it makes the sample data where a config asks for it
        print("\n".join([plan(run), "", *cost_lines(found)]))
        return
    from ernie_tiny.runs.pipeline import run_pipeline

    run_pipeline(run)

"""Runs the stages of a config: python tools/train.py -c configs/quickstart.yaml [-o key=value ...] [--check]."""

from __future__ import annotations

import argparse
import logging
import sys

from ernie_tiny.config import load_config
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", required=True, help="YAML file")
    parser.add_argument(
        "-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="a.b=v, stages.NAME.x=v"
    )
    parser.add_argument("--check", action="store_true", help="validate, print the plan, train nothing")


def main(args: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run = load_config(args.config, args.override)
    if args.check:
        from ernie_tiny.runs.plan import plan

        print(plan(run))
        return
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny.runs.pipeline import run_pipeline

    run_pipeline(run)

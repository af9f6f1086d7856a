#!/usr/bin/env python3
"""Runs the stages of a config: python tools/train.py -c configs/quickstart.yaml [-o key=value ...] [--check]."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ernie_tiny.config import load_config
from ernie_tiny.runtime import prepare, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--config", required=True, help="YAML file")
    parser.add_argument(
        "-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="a.b=v, stages.NAME.x=v"
    )
    parser.add_argument("--check", action="store_true", help="validate, print the plan, train nothing")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run = load_config(args.config, args.override)
    if args.check:
        from ernie_tiny.runs.plan import plan

        print(plan(run))
        return
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny.runs.pipeline import run_pipeline

    run_pipeline(run)


if __name__ == "__main__":
    run_tool(main)

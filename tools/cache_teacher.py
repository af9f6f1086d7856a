#!/usr/bin/env python3
"""Writes a stage's teacher cache ahead of time: tools/cache_teacher.py -c CONFIG [-o key=value ...] --stage TSD.

The stages that this one needs must be finished; tools/train.py with the same config then finds the cache.
"""

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
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--stage", required=True, help="stage with a teacher and a cache")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run = load_config(args.config, args.override)
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny.runs.pipeline import cache_teacher

    cache_teacher(run, args.stage)


if __name__ == "__main__":
    run_tool(main)

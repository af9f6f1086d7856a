"""Writes a stage's teacher cache ahead of time: tools/cache_teacher.py -c CONFIG [-o key=value ...] --stage TSD.

The stages that this one needs must be finished; tools/train.py with the same config then finds the cache.
"""

from __future__ import annotations

import argparse

from ernie_tiny.cli.arguments import add_config, show_log
from ernie_tiny.config import load_config
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--stage", required=True, help="stage with a teacher and a cache")


def main(args: argparse.Namespace) -> None:
    show_log()
    run = load_config(args.config, args.override)
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny.runs.pipeline import cache_teacher

    cache_teacher(run, args.stage)

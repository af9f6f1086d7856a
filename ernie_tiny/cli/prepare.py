"""Makes the vocabulary and general text of a run ahead of it: tools/prepare.py -c CONFIG [-o key=value ...].

tools/train.py with the same config then finds them. A corpus is tokenised by one process: this one needs no GPU.
"""

from __future__ import annotations

import argparse
import logging
import sys

from ernie_tiny.config import load_config
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", required=True, help="YAML file")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")


def main(args: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run = load_config(args.config, args.override)
    prepare("cpu", run.runtime.threads)
    from ernie_tiny.runs.pipeline import prepare_run

    prepare_run(run)

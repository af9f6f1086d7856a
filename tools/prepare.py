#!/usr/bin/env python3
"""Makes the vocabulary and general text of a run ahead of it: tools/prepare.py -c CONFIG [-o key=value ...].

tools/train.py with the same config then finds them. A corpus is tokenised by one process: this one needs no GPU.
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
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run = load_config(args.config, args.override)
    prepare("cpu", run.runtime.threads)
    from ernie_tiny.runs.pipeline import prepare_run

    prepare_run(run)


if __name__ == "__main__":
    run_tool(main)

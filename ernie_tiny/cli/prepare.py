"""Makes the vocabulary and general text of a run ahead of it: tools/prepare.py -c CONFIG [-o key=value ...].

tools/train.py with the same config then finds them. A corpus is tokenised by one process: this one needs no GPU.
"""

from __future__ import annotations

import argparse

from ernie_tiny.cli.arguments import add_config, show_log
from ernie_tiny.config import load_config
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)


def main(args: argparse.Namespace) -> None:
    show_log()
    run = load_config(args.config, args.override)
    prepare("cpu", run.runtime.threads)
    from ernie_tiny.runs.pipeline import prepare_run

    prepare_run(run)

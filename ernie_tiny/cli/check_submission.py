"""Validates a bundle for CLUE's or GLUE's leaderboard: tools/check_submission.py submit.zip --data data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ernie_tiny.leaderboard.check import check_submission, missing_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a zip, by whomever it was made")
    parser.add_argument(
        "--data", type=Path, required=True, help="data root, which holds clue/ or glue/ with the test files"
    )


def main(args: argparse.Namespace) -> None:
    checks = check_submission(args.bundle, args.data)
    for check in checks:
        print(check)
    missing = missing_files(checks)
    if missing:
        print(f"not in the bundle: {', '.join(missing)}")
    valid = sum(not check.faults for check in checks)
    print(f"{args.bundle}: {valid} of {len(checks)} files are valid")
    sys.exit(2 if valid < len(checks) else 0)

"""Says what is wrong with installation, config and data: python tools/doctor.py [-c FILE] [-o key=value ...]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from ernie_tiny.cli.arguments import add_config
from ernie_tiny.runs.installation import FAULT, Finding, examine_installation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser, required=False, note="; without it the installation alone is looked at")


def show(findings: Iterable[Finding]) -> int:
    """Prints the findings as they come and counts the faults among them."""
    faults = 0
    for finding in findings:
        print(finding, flush=True)
        faults += finding.state == FAULT
    return faults


def main(args: argparse.Namespace) -> None:
    faults = show(examine_installation())
    if args.config is not None and not faults:  # what follows imports the packages that are looked at above
        from ernie_tiny.config import load_config
        from ernie_tiny.runs.doctor import examine_run

        faults += show(examine_run(load_config(args.config, args.override)))
    print(f"{faults} fault{'s' * (faults != 1)}")
    sys.exit(2 if faults else 0)

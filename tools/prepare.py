#!/usr/bin/env python3
"""`ernie-tiny prepare` from a checkout, installed or not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ernie_tiny.cli.command import run_command

if __name__ == "__main__":
    run_command("prepare")

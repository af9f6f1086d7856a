"""The program `ernie-tiny`, whose subcommands are the modules of this folder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Optional

from ernie_tiny import __version__
from ernie_tiny.cli.arguments import paths_at_home
from ernie_tiny.runtime import run_tool

COMMANDS: Mapping[str, str] = {
    "train": "run the stages of a config",
    "doctor": "say what is wrong with installation, config and data",
    "prepare": "make the vocabulary and general text of a run ahead of it",
    "cache-teacher": "write a stage's teacher cache ahead of time",
    "search": "run a grid of settings",
    "evaluate": "score models of a run",
    "report": "compare runs in one page",
    "export": "export a model for inference engines or transformers",
    "infer": "answer JSON lines with an exported model",
    "serve": "answer over HTTP with exported models",
    "benchmark": "time exported models, engine by engine",
    "prune-vocabulary": "cut a model's vocabulary",
    "predict": "write a leaderboard's bundle",
    "check-submission": "validate a leaderboard's bundle",
    "download-clue": "fetch CLUE's official archives",
}


def run_command(name: str, arguments: Optional[Sequence[str]] = None, program: Optional[str] = None) -> None:
    """Runs a tool as a program: reads its arguments, calls its main, and leaves as `run_tool` says, or with 2.

    Args:
        name: Of the tool's module.
        arguments, program: By default those of this process, and the file that was started as the usage's name.
    """
    tool = import_module(f"ernie_tiny.cli.{name}")
    parser = argparse.ArgumentParser(program, description=tool.__doc__)
    tool.add_arguments(parser)
    values = parser.parse_args(arguments)
    run_tool(lambda: tool.main(paths_at_home(values)))


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Runs the subcommand that the command line begins with."""
    listing = "\n".join(f"  {name:<18}{purpose}" for name, purpose in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "ernie-tiny",
        description="Distils Chinese encoders into small students.",
        epilog=f"commands:\n{listing}\n\nernie-tiny COMMAND -h says what a command takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ernie-tiny {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="of the command")
    values = parser.parse_args(arguments)
    run_command(values.command.replace("-", "_"), values.arguments, f"ernie-tiny {values.command}")

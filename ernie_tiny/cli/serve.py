"""Serves exported models over HTTP: tools/serve.py --models output/x/export/tnews; see docs/deploy.md."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from ernie_tiny.cli.arguments import above
from ernie_tiny.engine_facts import AUTO, FACTS, PRECISIONS, needed
from ernie_tiny.errors import InputError
from ernie_tiny.files import at_home
from ernie_tiny.runtime import prepare

TOKEN = "ERNIE_TINY_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", required=True, metavar="[NAME=]DIR", help="folders of tools/export.py")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for all of this machine's")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free, which the log tells")
    parser.add_argument("--threads", type=above(0), default=1, help="of each model's engine")
    parser.add_argument("--engine", choices=(*FACTS, AUTO), default="paddle")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of auto the lowest allowed")
    parser.add_argument("--batch", type=above(0), default=32, help="examples that are answered together")
    parser.add_argument("--room", type=above(0), default=2048, help="examples that may wait; others get 429")
    parser.add_argument(
        "--seconds", type=above(0, float), default=30.0, help="for a request to come in, and for its answer"
    )


def served_folders(models: Iterable[str]) -> dict[str, Path]:
    """Name to folder of what --models says."""
    folders: dict[str, Path] = {}
    for given in models:
        name, equals, place = given.partition("=")
        if not equals or "/" in name:  # a path may hold an equals sign
            name, place = "", given
        name = name or Path(os.path.abspath(at_home(place))).name  # a link goes by its own
        if name in folders:
            raise InputError(f"--models: two are called {name}. Give one a name of its own: NAME={place}.")
        folders[name] = Path(at_home(place))
    return folders


def main(args: argparse.Namespace) -> None:
    folders = served_folders(args.models)
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        needed(module)
    prepare("cpu", args.threads)
    from ernie_tiny.serving.request import Limits
    from ernie_tiny.serving.server import ServedModel, run_server

    limits = Limits(batch=args.batch, room=args.room, seconds=args.seconds)
    models = {
        name: ServedModel(folder, limits, args.threads, args.engine, args.precision) for name, folder in folders.items()
    }
    run_server(models, limits, args.host, args.port, os.environ.get(TOKEN) or None)

"""Exports a model of a run for inference engines, or with --format huggingface for transformers."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.cli.arguments import above, add_overrides
from ernie_tiny.config import load_run
from ernie_tiny.engine_facts import FACTS, PRECISIONS
from ernie_tiny.errors import InputError
from ernie_tiny.files import MANIFEST, to_json
from ernie_tiny.runs.references import check_models, check_tasks, replaceable
from ernie_tiny.runtime import prepare

# Format to files of what it writes, by which an earlier export is known: it is replaced.
FORMATS = {"paddle": (MANIFEST, "task.json"), "huggingface": (MANIFEST, "config.json", "model.safetensors")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run folder that tools/train.py wrote")
    parser.add_argument("--model", required=True, help="model@stage")
    parser.add_argument("--task", help="whose head is exported; with --format huggingface it may be left out")
    parser.add_argument("--format", choices=FORMATS, default="paddle", help="by default %(default)s, for inference")
    parser.add_argument("--engines", nargs="+", choices=FACTS, help="and Paddle's float32; by default export.engines")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="each engine in those that it has")
    parser.add_argument(
        "--max-loss", type=above(0, float, True), help="points that int8 may lose on dev, by default export.max_loss"
    )
    parser.add_argument("--output", type=Path, help="by default <run>/export/<task>, or <run>/huggingface/<task>")
    add_overrides(parser)


def main(args: argparse.Namespace) -> None:
    if args.task is None and args.format == "paddle":
        raise InputError("--task: an export for Paddle Inference answers a task. Name one of the model's.")
    given = {"engines": args.engines, "precisions": args.precision, "max_loss": args.max_loss}
    own = [f"export.{key}={to_json(value)}" for key, value in given.items() if value is not None]
    run = load_run(args.run, [*own, *args.override])
    check_models(run, [args.model])
    check_tasks(run, args.model, [args.task] if args.task else [])
    place = args.run / ("export" if args.format == "paddle" else "huggingface")
    folder = replaceable("--output", args.output or place / (args.task or "encoder"), *FORMATS[args.format])
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny.runs.export import export_task
    from ernie_tiny.runs.huggingface_export import export_for_transformers
    from ernie_tiny.runs.run_folders import read_results
    from ernie_tiny.training.workspace import Workspace

    workspace, results = Workspace(run), read_results(args.run)
    if args.format == "huggingface":
        opened_by = export_for_transformers(workspace, args.model, args.task, folder, results)
        print(f"{folder}: open it with transformers.{opened_by}.from_pretrained")
        return
    result = export_task(workspace, args.model, args.task, folder, results)
    print(f"{folder}: logits differ by {result['static']:.1e} (static), {result['inference']:.1e} (Paddle Inference)")
    for form in [form for form in result if ", " in form]:
        print(f"{form}: logits differ by {result[form]:.1e}{'' if 'float32' in form else ' of the largest'}")
    for line in result.get("int8", ()):
        print(line)

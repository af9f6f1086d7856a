"""Exports a model of a run: tools/export.py --run output/x --model student@finetune --task tnews.

For Paddle Inference, or with --format huggingface for transformers: with the head of a task, or without --task as the
bare encoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.config import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.runs.references import check_models, check_output_folder, check_tasks
from ernie_tiny.runtime import prepare

FORMATS = ("paddle", "huggingface")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run folder that tools/train.py wrote")
    parser.add_argument("--model", required=True, help="model@stage")
    parser.add_argument("--task", help="whose head is exported; with --format huggingface it may be left out")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="by default %(default)s, for inference")
    parser.add_argument("--output", type=Path, help="by default <run>/export/<task>, or <run>/huggingface/<task>")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")


def main(args: argparse.Namespace) -> None:
    if args.task is None and args.format == "paddle":
        raise InputError("--task: an export for Paddle Inference answers a task. Name one of the model's.")
    run = load_config(args.run / "config.yaml", [f"output_dir={args.run}", *args.override])
    check_models(run, [args.model])
    check_tasks(run, [args.task] if args.task else [])
    place = args.run / ("export" if args.format == "paddle" else "huggingface")
    folder = args.output or place / (args.task or "encoder")
    check_output_folder("--output", folder)
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny.runs.conclude import export_task
    from ernie_tiny.runs.huggingface_export import export_for_transformers
    from ernie_tiny.runs.record import read_results
    from ernie_tiny.training.workspace import Workspace

    workspace, results = Workspace(run), read_results(args.run)
    if args.format == "huggingface":
        opened_by = export_for_transformers(workspace, args.model, args.task, folder, results)
        print(f"{folder}: open it with transformers.{opened_by}.from_pretrained")
        return
    result = export_task(workspace, args.model, args.task, folder, results)
    print(f"{folder}: logits differ by {result['static']:.1e} (static), {result['inference']:.1e} (Paddle Inference)")

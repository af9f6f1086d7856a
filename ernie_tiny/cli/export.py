"""Exports a model for Paddle Inference: tools/export.py --run output/x --model student@finetune --task tnews."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.config import load_config
from ernie_tiny.runs.references import check_models, check_output_folder, check_tasks
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run folder that tools/train.py wrote")
    parser.add_argument("--model", required=True, help="model@stage")
    parser.add_argument("--task", required=True)
    parser.add_argument("--output", type=Path, help="by default <run>/export/<task>")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")


def main(args: argparse.Namespace) -> None:
    run = load_config(args.run / "config.yaml", [f"output_dir={args.run}", *args.override])
    check_models(run, [args.model])
    check_tasks(run, [args.task])
    folder = args.output or args.run / "export" / args.task
    check_output_folder("--output", folder)
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny.runs.conclude import export_task
    from ernie_tiny.runs.record import read_results
    from ernie_tiny.training.workspace import Workspace

    result = export_task(Workspace(run), args.model, args.task, folder, read_results(args.run))
    print(f"{folder}: logits differ by {result['static']:.1e} (static), {result['inference']:.1e} (Paddle Inference)")

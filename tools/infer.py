#!/usr/bin/env python3
"""Answers JSON lines with an exported model: python tools/infer.py --model output/x/export/tnews < lines.jsonl."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ernie_tiny.files import to_json
from ernie_tiny.runtime import prepare, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder that tools/export.py wrote")
    parser.add_argument("--input", type=Path, default=Path("/dev/stdin"), help="a file of JSON lines")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    prepare("cpu", args.threads)
    from ernie_tiny.data.inputs import read_inputs
    from ernie_tiny.deploy.predictor import Predictor

    predictor = Predictor(args.model, args.threads)
    examples = read_inputs(predictor.spec, args.input)
    for prediction in predictor.predict(examples, args.batch_tokens):
        print(to_json(asdict(prediction)))


if __name__ == "__main__":
    run_tool(main)

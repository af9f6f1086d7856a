"""Answers JSON lines with an exported model: python tools/infer.py --model output/x/export/tnews < lines.jsonl."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.cli.arguments import above
from ernie_tiny.engine_facts import AUTO, FACTS, PRECISIONS
from ernie_tiny.files import to_json
from ernie_tiny.runs.references import check_input
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="folder that tools/export.py wrote")
    parser.add_argument("--input", type=Path, default=Path("/dev/stdin"), help="a file of JSON lines")
    parser.add_argument("--threads", type=above(0), default=1)
    parser.add_argument("--engine", choices=(*FACTS, AUTO), default="paddle", help="auto: the fastest, measured once")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of auto the lowest allowed")
    parser.add_argument("--batch-tokens", type=above(0), default=2048)
    parser.add_argument("--token-ids", action="store_true", help="print the network's inputs and do not answer")


def main(args: argparse.Namespace) -> None:
    check_input("--input", args.input)
    prepare("cpu", args.threads)
    from ernie_tiny.kinds.read import read_inputs
    from ernie_tiny.serving.exported import read_spec
    from ernie_tiny.serving.predictor import Predictor
    from ernie_tiny.serving.token_ids import token_ids

    if args.token_ids:
        for record in token_ids(args.model, read_inputs(read_spec(args.model), args.input)):
            print(to_json(record))
        return
    predictor = Predictor(args.model, args.threads, engine=args.engine, precision=args.precision)
    examples = read_inputs(predictor.spec, args.input)
    for prediction in predictor.predict(examples, args.batch_tokens):
        print(to_json(prediction.record()))

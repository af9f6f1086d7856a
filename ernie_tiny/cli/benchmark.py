"""Times exported models: tools/benchmark.py --models output/x/export/tnews output/y/export/tnews --lengths 32 128."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.engine_facts import FACTS, PRECISIONS, forms
from ernie_tiny.runs.references import check_input, check_output_file
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="folders that tools/export.py wrote")
    parser.add_argument("--engines", nargs="+", choices=FACTS, default=list(FACTS), help="of those that a folder holds")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32], help="rows of a call")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128], help="tokens of a row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="of calls a model, engine and shape, roughly")
    parser.add_argument(
        "--texts", type=Path, help="JSON lines of the first model's task, to time with tokenisation too"
    )
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")


def main(args: argparse.Namespace) -> None:
    if args.texts is not None:
        check_input("--texts", args.texts)
    if args.output is not None:
        check_output_file("--output", args.output)
    prepare("cpu", args.threads)
    from ernie_tiny.report.tables import terminal_text
    from ernie_tiny.runs.benchmark import benchmark_models, tables, time_texts, write_benchmark
    from ernie_tiny.serving.benchmark import Cell

    asked = forms(args.engines, args.precision)
    cells = [Cell(rows, length) for rows in args.batches for length in args.lengths]
    record = benchmark_models(args.models, asked, cells, args.threads, args.seconds)
    texts = {} if args.texts is None else time_texts(args.models, asked, args.texts, max(args.batches), args.threads)
    bfloat16 = "with" if record["bfloat16"] else "without"
    print(f"{record['processor']}, {bfloat16} bfloat16, {args.threads} threads; in turn, ratios to the first row")
    print(terminal_text(tables(record, texts)))
    write_benchmark(args.output, record, texts)

"""Times exported models: tools/benchmark.py --models output/x/export/tnews output/y/export/tnews --lengths 32 128."""

from __future__ import annotations

import argparse
from pathlib import Path

from ernie_tiny.cli.arguments import above
from ernie_tiny.engine_facts import AUTO, FACTS, PRECISIONS, forms
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json, write_text
from ernie_tiny.runs.references import check_input, check_output_file
from ernie_tiny.runtime import prepare

PICTURES = (".svg", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="folders that tools/export.py wrote")
    engines = (*FACTS, AUTO)
    parser.add_argument("--engines", nargs="+", choices=engines, default=list(engines), help="of those a folder holds")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--batches", type=above(0), nargs="+", default=[1, 32], help="rows of a call")
    parser.add_argument("--lengths", type=above(0), nargs="+", default=[32, 128], help="tokens of a row")
    parser.add_argument("--threads", type=above(0), default=1)
    parser.add_argument("--seconds", type=above(0, float), default=2.0, help="of calls a model, engine and shape")
    parser.add_argument("--texts", type=Path, help="JSON lines of the first model's task: times tokenisation too")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    parser.add_argument("--chart", type=Path, help="a picture, .svg or .png")


def main(args: argparse.Namespace) -> None:
    if args.texts is not None:
        check_input("--texts", args.texts)
    for option, file in (("--output", args.output), ("--chart", args.chart)):
        if file is not None:
            check_output_file(option, file)
    if args.chart is not None and args.chart.suffix not in PICTURES:
        raise InputError(f"--chart {args.chart}: is drawn as {' or '.join(PICTURES)}. End its name with one of them.")
    prepare("cpu", args.threads)
    from ernie_tiny.report.speeds import draw_speeds
    from ernie_tiny.report.tables import terminal_text
    from ernie_tiny.runs.benchmark import benchmark_models, read_texts, tables, time_texts
    from ernie_tiny.serving.benchmark import Cell

    asked = forms([name for name in args.engines if name != AUTO], args.precision)
    if AUTO in args.engines:
        asked.append((AUTO, max(args.precision, key=PRECISIONS.index)))
    cells = [Cell(rows, length) for rows in args.batches for length in args.lengths]
    examples = () if args.texts is None else read_texts(args.models, args.texts)
    record = benchmark_models(args.models, asked, cells, args.threads, args.seconds)
    texts = time_texts(args.models, asked, examples, max(args.batches), args.threads) if examples else {}
    bfloat16 = "with" if record["bfloat16"] else "without"
    print(f"{record['processor']}, {bfloat16} bfloat16, {args.threads} threads; in turn, ratios to the first row")
    print(terminal_text(tables(record, texts)))
    if args.output is not None:
        write_text(args.output, to_json({**record, **({"texts": texts} if texts else {})}, indent=1) + "\n")
    if args.chart is not None:
        draw_speeds(record, args.chart)

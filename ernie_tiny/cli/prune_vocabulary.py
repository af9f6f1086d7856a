"""Cuts a model's vocabulary: tools/prune_vocabulary.py --model DIR --output DIR [-c CONFIG] [--texts FILE ...].

Tokens that the texts use are kept, and the characters of their words. The new folder is for `pretrained:` in a config.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

from ernie_tiny.cli.arguments import above, add_config
from ernie_tiny.config import load_config
from ernie_tiny.runs.references import check_input, check_output_folder
from ernie_tiny.runtime import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="folder with a model and its tokenizer")
    parser.add_argument("--output", type=Path, required=True, help="new folder")
    add_config(parser, required=False, note="; the train and unlabelled files of its tasks are texts")
    parser.add_argument("--texts", type=Path, nargs="+", default=[], help="text files")
    parser.add_argument("--field", help="of texts in JSON lines: the field that holds the text")
    parser.add_argument("--min-count", type=above(0), default=2, help="of a character of words to be kept by itself")


def main(args: argparse.Namespace) -> None:
    run = load_config(args.config, args.override) if args.config else None
    for file in args.texts:
        check_input("--texts", file)
    check_output_folder("--output", args.output)
    prepare("cpu")
    from ernie_tiny.data.corpus import paragraphs_of
    from ernie_tiny.training.vocabulary import prune_folder, task_texts

    texts = chain(paragraphs_of(args.texts, args.field), task_texts(run) if run else ())
    print(f"{args.output}: {prune_folder(args.model, args.output, texts, args.min_count)}")

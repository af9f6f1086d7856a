#!/usr/bin/env python3
"""What texts without labels give: benchmarks/quality/own_data/run.py --reviews FILE --teacher FOLDER --output OUT

FILE is shopping_10's online_shopping_10_cats.csv. Of its reviews, each text once, 500 keep their labels, 20,000 lose
them, and models are scored on 10,000 of the rest. Trains shopping.yaml with each seed and prints a table; the same
command again goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from ernie_tiny.evaluation.statistics import mean_and_deviation
from ernie_tiny.report.tables import Table

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[2] / "tools"
LABELLED, UNLABELLED, SCORED = 500, 20_000, 10_000
MODELS = {
    "teacher, 500 labelled reviews": "teacher@teach",
    "student, distilled on these and 20,000 without labels": "student@distil",
    "student, distilled on the 500": "student@distil-labelled",
    "student without a teacher": "student@scratch",
}


def main() -> None:
    args = parse_args()
    make_files(args.reviews, args.output / "data")
    for seed in args.seeds:
        run = args.output / f"seed-{seed}"
        given = (f"data.root={args.output / 'data'}", f"models.teacher.pretrained={args.teacher}", f"seed={seed}")
        tool("train", "-c", HERE / "shopping.yaml", "-o", f"output_dir={run}", *given, *args.override)
        if not (run / "scores" / "evaluation.json").is_file():
            models = ("--models", *MODELS.values(), "--examples", SCORED)
            tool("evaluate", "--run", run, *models, "--output", run / "scores")
    print(table([args.output / f"seed-{seed}" for seed in args.seeds]).markdown())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--teacher", required=True, help="a folder that transformers saved, or a name")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("-o", "--override", nargs="+", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def make_files(reviews: Path, folder: Path) -> None:
    """Writes labelled.csv, unlabelled.csv and rest.csv, the same for all seeds."""
    with reviews.open(encoding="utf-8", newline="") as stream:
        rows = list({row["review"]: row for row in csv.DictReader(stream) if row["review"].strip()}.values())
    order = np.random.default_rng(0).permutation(len(rows))
    ends = (0, LABELLED, LABELLED + UNLABELLED, len(rows))
    folder.mkdir(parents=True, exist_ok=True)
    names = ("labelled", "unlabelled", "rest")
    for name, start, end in zip(names, ends, ends[1:]):
        fields = ["review"] if name == "unlabelled" else ["review", "cat"]
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fields, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows[index] for index in order[start:end])


def tool(name: str, *arguments: object) -> None:
    subprocess.run([sys.executable, str(TOOLS / f"{name}.py"), *map(str, arguments)], check=True)


def table(runs: list[Path]) -> Table:
    """A row a model: its score with each seed, mean and standard deviation."""
    found = [json.loads((run / "scores" / "evaluation.json").read_text(encoding="utf-8")) for run in runs]
    rows = []
    for title, reference in MODELS.items():
        scores = [
            record["scores"]["accuracy"] for records in found for record in records if record["model"] == reference
        ]
        mean, deviation = mean_and_deviation(scores)
        rows.append([title, *(f"{score:.2f}" for score in scores), f"{mean:.2f} ± {deviation:.2f}"])
    return Table(["accuracy in percent", *(run.name for run in runs), "mean ± deviation"], [rows])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What texts without labels give: benchmarks/quality/own_data/run.py --reviews FILE --teacher FOLDER --output OUT

FILE is shopping_10's online_shopping_10_cats.csv. Of its reviews, each text once, 500 keep their labels, 20,000 lose
them, and models are scored on 10,000 of the rest. Trains shopping.yaml with each seed, then recorded.yaml, whose
teacher is a file of that teacher's answers, and prints a table; the same command again goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from ernie_tiny.evaluation.statistics import mean_and_deviation
from ernie_tiny.files import to_json, write_text
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
RECORDED = {
    "student, taught by a file of the teacher's probabilities": "student@from-probabilities",
    "student, taught by a file of the teacher's labels": "student@from-labels",
}


def main() -> None:
    args = parse_args()
    make_files(args.reviews, args.output / "data")
    for seed in args.seeds:
        run, root = args.output / f"seed-{seed}", args.output / "data"
        given = (f"models.teacher.pretrained={args.teacher}", f"seed={seed}", *args.override)
        train_and_score("shopping.yaml", run, MODELS, f"data.root={root}", *given)
        if not args.live_alone:
            record_answers(run, root)
            train_and_score("recorded.yaml", recorded(run), RECORDED, f"data.root={answers_root(run)}", *given)
    print(table([args.output / f"seed-{seed}" for seed in args.seeds], not args.live_alone).markdown())


def recorded(run: Path) -> Path:
    """The folder of the run that is taught by files."""
    return run.with_name(f"{run.name}-recorded")


def answers_root(run: Path) -> Path:
    """Its data root: the reviews, and answers of this seed's teacher."""
    return run.with_name(f"{run.name}-answers")


def train_and_score(config: str, run: Path, models: Mapping[str, str], *overrides: str) -> None:
    tool("train", "-c", HERE / config, "-o", f"output_dir={run}", *overrides)
    if not (run / "scores" / "evaluation.json").is_file():
        scored = ("--models", *models.values(), "--examples", SCORED, "--output", run / "scores")
        tool("evaluate", "--run", run, *scored)


def record_answers(run: Path, data: Path) -> None:
    """Lets the exported teacher answer all reviews, and writes its probabilities and labels below a data root."""
    root = answers_root(run)
    if (root / "answers" / "labels.jsonl").is_file():
        return
    model = run / "teacher"
    if not model.is_dir():
        of_teacher = ("--model", "teacher@teach", "--task", "shopping", "--output", model)
        tool("export", "--run", run, *of_teacher)
    shutil.copytree(data, root, dirs_exist_ok=True)
    reviews: list[str] = []
    for name in ("labelled", "unlabelled"):
        with (data / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            reviews += [row["review"] for row in csv.DictReader(stream)]
    asked = "".join(to_json({"review": review}) + "\n" for review in reviews)
    command = [sys.executable, str(TOOLS / "infer.py"), "--model", str(model), "--threads", "2"]
    printed = subprocess.run(command, input=asked, check=True, text=True, stdout=subprocess.PIPE).stdout
    answers = [json.loads(line) for line in printed.splitlines()]
    rows = {
        "probabilities": [{"probabilities": answer["scores"]} for answer in answers],
        "labels": [{"label": answer["answer"]} for answer in answers],
    }
    for name, given in rows.items():
        lines = (to_json({"review": review, **row}) for review, row in zip(reviews, given))
        write_text(root / "answers" / f"{name}.jsonl", "\n".join(lines) + "\n")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--teacher", required=True, help="a folder that transformers saved, or a name")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--live-alone", action="store_true", help="no files of answers")
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


def table(runs: list[Path], with_recorded: bool) -> Table:
    """A row a model: its score with each seed, mean and standard deviation."""
    folders = [folder for run in runs for folder in ((run, recorded(run)) if with_recorded else (run,))]
    found = [json.loads((folder / "scores" / "evaluation.json").read_text(encoding="utf-8")) for folder in folders]
    rows = []
    for title, reference in {**MODELS, **(RECORDED if with_recorded else {})}.items():
        scores = [
            record["scores"]["accuracy"] for records in found for record in records if record["model"] == reference
        ]
        mean, deviation = mean_and_deviation(scores)
        rows.append([title, *(f"{score:.2f}" for score in scores), f"{mean:.2f} ± {deviation:.2f}"])
    return Table(["accuracy in percent", *(run.name for run in runs), "mean ± deviation"], [rows])


if __name__ == "__main__":
    main()

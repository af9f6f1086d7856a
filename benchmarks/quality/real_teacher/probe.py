#!/usr/bin/env python3
"""How much of a task can be read linearly from a frozen encoder: a probe for what a stage of training forgot.

    python benchmarks/quality/real_teacher/probe.py --run OUT/seed=1/mitkd --models teacher teacher@enhance
        --tasks shopping_category shopping_sentiment [--train 500] [--dev 2000] [--halfway teacher teacher@enhance]

A text's vector is the mean of the last layer's tokens, each number of it standardised by the training texts; a logistic
regression (scikit-learn's, L2) learns the labels of --train texts, drawn by the hash of their texts as a stage draws
them, and is scored on --dev texts of dev. Printed is the best accuracy of four strengths of the penalty, which favours
all models alike. --halfway probes the mean of two models' weights as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from ernie_tiny.cli.arguments import above, add_overrides
from ernie_tiny.config import load_run
from ernie_tiny.report.tables import Table
from ernie_tiny.runtime import prepare

PENALTIES = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[], help="a model as configured, or model@stage")
    parser.add_argument("--halfway", nargs=2, metavar="MODEL")
    parser.add_argument("--tasks", nargs="+", required=True, help="of classes")
    parser.add_argument("--train", type=above(0), default=500)
    parser.add_argument("--dev", type=above(0), default=2000)
    add_overrides(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    run = load_run(args.run, args.override)
    prepare(run.runtime.device, run.runtime.threads)  # before Paddle is imported
    from ernie_tiny.training.workspace import Workspace

    workspace = Workspace(run)
    models = {name: workspace.model(name) for name in args.models}
    if args.halfway:
        models[" and ".join(args.halfway) + ", halfway"] = halfway(*map(workspace.model, args.halfway))
    rows = [
        [name, *(f"{score(workspace, model, task, args):.2f}" for task in args.tasks)] for name, model in models.items()
    ]
    print(Table(["model", *args.tasks], [rows]).markdown())


def halfway(first: Any, second: Any) -> Any:
    """The second model with the mean of both encoders' weights."""
    weights = first.encoder.state_dict()
    second.encoder.set_state_dict(
        {name: (weights[name] + end) / 2 for name, end in second.encoder.state_dict().items()}
    )
    return second


def score(workspace: Any, model: Any, task: str, args: argparse.Namespace) -> float:
    """The best accuracy on dev, in percent."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    drawn = [workspace.examples(task, split, limit) for split, limit in (("train", args.train), ("dev", args.dev))]
    train, dev = (vectors(workspace, model, task, examples) for examples in drawn)
    labels, gold = ([example.label for example in examples] for examples in drawn)
    probes = (make_pipeline(StandardScaler(), LogisticRegression(C=each, max_iter=2000)) for each in PENALTIES)
    return 100 * max(float(probe.fit(train, labels).score(dev, gold)) for probe in probes)


def vectors(workspace: Any, model: Any, task: str, examples: Sequence[Any]) -> Any:
    """float32 [examples, hidden_size]."""
    import numpy as np
    import paddle

    from ernie_tiny.kinds.ask import featurise
    from ernie_tiny.models.pooling import encode

    features = featurise(workspace.task(task), examples, workspace.tokenizer, workspace.task(task).max_length)
    rows = [feature.sequences[0] for feature in features]
    found = np.zeros((len(rows), model.encoder.config.hidden_size), np.float32)
    by_length = np.argsort([len(ids) for ids, _ in rows])
    model.eval()
    with paddle.no_grad():
        for some in np.array_split(by_length, max(1, len(rows) // 32)):
            shape = len(some), max(len(rows[row][0]) for row in some)
            ids, types, mask = np.full(shape, workspace.tokenizer.pad_id), np.zeros(shape, int), np.zeros(shape, int)
            for place, row in enumerate(some):
                length = len(rows[row][0])
                ids[place, :length], types[place, :length], mask[place, :length] = *rows[row], 1
            sequence = encode(model.encoder, *map(paddle.to_tensor, (ids, types, mask)))[0].numpy()
            found[some] = (sequence * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    return found


if __name__ == "__main__":
    main()

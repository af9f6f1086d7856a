#!/usr/bin/env python3
"""How much of a task can be read linearly from a frozen encoder: a probe for what a stage of training forgot.

    python benchmarks/quality/real_teacher/probe.py --run OUT/seed=1/mitkd --models teacher teacher@enhance
        --tasks shopping_category shopping_sentiment [--train 500] [--dev 2000] [--halfway teacher teacher@enhance]

A text's vector is the mean of a layer's output over its tokens, each number of it standardised by the training texts; a
logistic regression (scikit-learn's, L2) learns the labels of --train texts, drawn by the hash of their texts as a stage
draws them, and is scored on --dev texts of dev. Printed is the best accuracy of four strengths of the penalty, which
favours all models alike. --halfway probes the mean of two models' weights as well.
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
BATCH_TOKENS = 4096


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[], help="a model as configured, or model@stage")
    parser.add_argument("--halfway", nargs=2, metavar="MODEL")
    parser.add_argument("--tasks", nargs="+", required=True, help="of classes")
    parser.add_argument("--below-the-top", nargs="+", type=above(0), default=[1], help="layers, the last one is 1")
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
    rows = []
    for name, model in models.items():
        scores = [accuracies(workspace, model, task, args) for task in args.tasks]
        rows += [[name, str(layer), *(f"{score[layer]:.2f}" for score in scores)] for layer in scores[0]]
    print(Table(["model", "layer", *args.tasks], [rows]).markdown())


def halfway(first: Any, second: Any) -> Any:
    """The second model with the mean of both encoders' weights."""
    weights = first.encoder.state_dict()
    second.encoder.set_state_dict(
        {name: (weights[name] + end) / 2 for name, end in second.encoder.state_dict().items()}
    )
    return second


def accuracies(workspace: Any, model: Any, task: str, args: argparse.Namespace) -> dict[int, float]:
    """Layer, counted from 0, to the best accuracy on dev, in percent."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    drawn = [workspace.examples(task, split, limit) for split, limit in (("train", args.train), ("dev", args.dev))]
    layers = [model.num_layers - below for below in args.below_the_top]
    train, dev = (vectors(workspace, model, task, examples, layers) for examples in drawn)
    labels, gold = ([example.label for example in examples] for examples in drawn)

    def accuracy(layer: int, strength: float) -> float:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        return 100 * float(probe.fit(train[layer], labels).score(dev[layer], gold))

    return {layer: max(accuracy(layer, strength) for strength in PENALTIES) for layer in layers}


def vectors(workspace: Any, model: Any, task: str, examples: Sequence[Any], layers: Sequence[int]) -> dict[int, Any]:
    """Layer to float32 [examples, hidden_size], the means of its output over the tokens of each text."""
    import numpy as np
    import paddle

    from ernie_tiny.data.batching import collate, plan_batches
    from ernie_tiny.kinds.ask import featurise
    from ernie_tiny.models.signals import SignalRequest

    features = featurise(workspace.task(task), examples, workspace.tokenizer, workspace.task(task).max_length)
    found = {layer: np.zeros((len(features), model.encoder.config.hidden_size), np.float32) for layer in layers}
    lengths = np.array([len(feature.sequences[0][0]) for feature in features])
    plan = plan_batches(lengths, seed=0, epoch=0, batch_size=None, max_tokens=BATCH_TOKENS, shuffle=False)
    model.eval()
    with paddle.no_grad():
        for some in plan:
            batch = collate([features[number] for number in some], task, workspace.tokenizer.pad_id)
            signals, mask = model(batch, SignalRequest(hidden=frozenset(layers))), batch.attention_mask
            for layer in layers:
                sums = (signals.hidden[layer].numpy() * mask[:, :, None]).sum(1)
                found[layer][some] = sums / mask.sum(1, keepdims=True)
    return found


if __name__ == "__main__":
    main()

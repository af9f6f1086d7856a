#!/usr/bin/env python3
"""Where the time of a MITKD distillation step goes, and what the relation loss costs in two forms.

    python benchmarks/speed/distillation_step.py [--threads 2] [--relation-heads 16] [--steps 10]

A random 6L256H teacher and 4L128H student, batches of 16 x 128 tokens. Both forms of the loss run in turn in one
process; quote the ratios.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.runtime import prepare

ROWS, LENGTH = 16, 128


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--relation-heads", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dropout", type=float, default=0.1)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    prepare("cpu", args.threads)
    import numpy as np
    import paddle
    import paddle.nn.functional as F

    from ernie_tiny.distill import losses
    from ernie_tiny.models.backbone import build_encoder
    from ernie_tiny.models.multitask import MultiTaskModel
    from ernie_tiny.models.signals import SignalRequest

    def scores(vectors, heads):
        """[rows, length, width] to the products of each head's vectors, scaled: [rows, heads, length, length]."""
        rows, length, width = vectors.shape
        vectors = vectors.reshape([rows, length, heads, width // heads]).transpose([0, 2, 1, 3])
        return paddle.matmul(vectors * (width // heads) ** -0.5, vectors, transpose_y=True)

    def log_softmax_form(student, teacher, mask, heads):
        """The same divergence as written in the paper, for comparison."""
        with paddle.no_grad():
            teacher_log = F.log_softmax(scores(teacher, heads))
            probability = teacher_log.exp()
            negative_entropy = (probability * teacher_log).sum(-1)
        student_log = F.log_softmax(scores(student, heads))
        return (negative_entropy - (probability * student_log).sum(-1)).mean()

    def model(layers: int, width: int) -> MultiTaskModel:
        shape = {
            "num_hidden_layers": layers,
            "hidden_size": width,
            "num_attention_heads": 4,
            "intermediate_size": 4 * width,
            "vocab_size": 9000,
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
            "hidden_dropout_prob": args.dropout,
            "attention_probs_dropout_prob": args.dropout,
        }
        return MultiTaskModel(build_encoder("ernie", shape))

    from ernie_tiny.batch import Batch

    teacher, student = model(6, 256), model(4, 128)
    teacher.eval()
    ids = np.random.default_rng(0).integers(5, 9000, (ROWS, LENGTH))
    batch = Batch("", ("",) * ROWS, ids, np.zeros_like(ids), np.ones_like(ids))
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=student.parameters())

    def step(loss_form: Callable, seconds: dict[str, float]) -> None:
        marks = [time.perf_counter()]
        with paddle.no_grad():
            taught = teacher(batch, SignalRequest(projections=frozenset([5])))
        marks.append(time.perf_counter())
        signals = student(batch, SignalRequest(projections=frozenset([3])))
        marks.append(time.perf_counter())
        pairs = ((signals.queries, taught.queries), (signals.keys, taught.keys), (signals.values, taught.values))
        loss = sum(loss_form(own[3], other[5], signals.attention_mask, args.relation_heads) for own, other in pairs)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        optimizer.clear_grad()
        marks.append(time.perf_counter())
        for name, start, end in zip(("teacher", "student", "loss", "backward", "optimizer"), marks, marks[1:]):
            seconds[name] += end - start

    forms = {"log_softmax": log_softmax_form, "relation_kl": losses.relation_kl}
    totals: dict[str, dict[str, float]] = {name: defaultdict(float) for name in forms}
    for number in range(args.steps + 2):
        for name, form in forms.items():
            step(form, totals[name] if number >= 2 else defaultdict(float))
    for name, seconds in totals.items():
        parts = "  ".join(f"{part} {1000 * value / args.steps:.0f} ms" for part, value in seconds.items())
        total = sum(seconds.values())
        rate = ROWS * LENGTH * args.steps / total
        print(f"{name:<12} {parts}  step {1000 * total / args.steps:.0f} ms, {rate:.0f} tokens/s")
    ratio = sum(totals["log_softmax"].values()) / sum(totals["relation_kl"].values())
    print(f"step with log_softmax / step with relation_kl: {ratio:.2f}")


if __name__ == "__main__":
    main()

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
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.runtime import prepare

ROWS, LENGTH, TOKENS = 16, 128, 9000
WARM_UP = 2  # steps that are not counted


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--relation-heads", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dropout", type=float, default=0.1)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    prepare("cpu", args.threads)  # before Paddle is imported
    from ernie_tiny.distill.losses import relation_kl

    step = stepper(args.dropout, args.relation_heads)
    forms = {"log_softmax": log_softmax_form, "relation_kl": relation_kl}
    totals: dict[str, dict[str, float]] = {name: defaultdict(float) for name in forms}
    for number in range(args.steps + WARM_UP):
        for name, form in forms.items():
            for part, seconds in step(form).items():
                totals[name][part] += seconds if number >= WARM_UP else 0
    for name, parts in totals.items():
        shown = "  ".join(f"{part} {1000 * seconds / args.steps:.0f} ms" for part, seconds in parts.items())
        mean = sum(parts.values()) / args.steps
        print(f"{name:<12} {shown}  step {1000 * mean:.0f} ms, {ROWS * LENGTH / mean:.0f} tokens/s")
    ratio = sum(totals["log_softmax"].values()) / sum(totals["relation_kl"].values())
    print(f"step with log_softmax / step with relation_kl: {ratio:.2f}")


def stepper(dropout: float, relation_heads: int) -> Callable[[Callable[..., Any]], dict[str, float]]:
    """A function that takes one step with a form of the loss and returns the seconds of its parts."""
    import numpy as np
    import paddle

    from ernie_tiny.batch import Batch
    from ernie_tiny.models.signals import SignalRequest

    teacher, student = random_model(6, 256, dropout), random_model(4, 128, dropout)
    teacher.eval()
    ids = np.random.default_rng(0).integers(5, TOKENS, (ROWS, LENGTH))
    batch = Batch("", ("",) * ROWS, ids, np.zeros_like(ids), np.ones_like(ids))
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=student.parameters())

    def step(form: Callable[..., Any]) -> dict[str, float]:
        marks = [time.perf_counter()]
        with paddle.no_grad():
            taught = teacher(batch, SignalRequest(projections=frozenset([5])))
        marks.append(time.perf_counter())
        signals = student(batch, SignalRequest(projections=frozenset([3])))
        marks.append(time.perf_counter())
        pairs = ((signals.queries, taught.queries), (signals.keys, taught.keys), (signals.values, taught.values))
        loss = sum(form(own[3], other[5], signals.attention_mask, relation_heads) for own, other in pairs)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        optimizer.clear_grad()
        marks.append(time.perf_counter())
        names = ("teacher", "student", "loss", "backward", "optimizer")
        return {name: end - start for name, start, end in zip(names, marks, marks[1:])}

    return step


def random_model(layers: int, width: int, dropout: float) -> Any:
    from ernie_tiny.models.backbone import build_encoder
    from ernie_tiny.models.multitask import MultiTaskModel

    shape = {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": 4,
        "intermediate_size": 4 * width,
        "vocab_size": TOKENS,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    return MultiTaskModel(build_encoder("ernie", shape))


def log_softmax_form(student: Any, teacher: Any, mask: Any, heads: int) -> Any:
    """The divergence as the paper writes it, for batches without padding."""
    import paddle
    from paddle.nn.functional import log_softmax

    with paddle.no_grad():
        teacher_log = log_softmax(scores(teacher, heads))
        probability = teacher_log.exp()
        negative_entropy = (probability * teacher_log).sum(-1)
    student_log = log_softmax(scores(student, heads))
    return (negative_entropy - (probability * student_log).sum(-1)).mean()


def scores(vectors: Any, heads: int) -> Any:
    """[rows, length, width] to the products of each head's vectors, scaled: [rows, heads, length, length]."""
    import paddle

    rows, length, width = vectors.shape
    vectors = vectors.reshape([rows, length, heads, width // heads]).transpose([0, 2, 1, 3])
    return paddle.matmul(vectors * (width // heads) ** -0.5, vectors, transpose_y=True)


if __name__ == "__main__":
    main()

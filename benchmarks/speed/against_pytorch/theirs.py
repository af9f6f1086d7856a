"""The worker of PyTorch: the same maths on the same weights and batches, as a practised user of it writes it.

Runs in an interpreter that has torch and transformers, and needs nothing of this project but worker.py beside it.
With --textbrewer the losses are TextBrewer's (textbrewer_losses.py); the weights, the batches and the optimizer stay.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.speed.against_pytorch import textbrewer_losses
from benchmarks.speed.against_pytorch.worker import SIDE, peak, resident, serve

LAYER = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}  # of PaddleNLP's encoder layer to that of transformers


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, required=True, help="folder that the other worker wrote")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--textbrewer", action="store_true", help="its GeneralDistiller computes the losses")
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


def make(args: argparse.Namespace) -> Mapping[str, Callable[..., Any]]:
    import torch

    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)))
    case = make_case(args.case, args.precision, args.textbrewer)
    square = torch.randn([SIDE, SIDE])
    return {"step": case, "peak": lambda: peak(lambda: square @ square)}


def make_case(folder: Path, precision: str, textbrewer: bool) -> Callable[[int], dict[str, float]]:
    """A function that takes a step on the batch of a number."""
    import torch
    from torch import nn

    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    arrays = np.load(folder / "weights.npz")
    weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    kernel = "eager" if textbrewer else "sdpa"
    student = model_of(part(weights, "network.models."), case["heads"]["student"], kernel)
    taught = part(weights, "teacher.")
    teacher = model_of(taught, case["heads"]["teacher"], kernel) if taught else None
    modules = nn.ModuleList([student])
    projections = [value for name, value in sorted(weights.items()) if ".hidden.projections." in name]
    for value in projections:
        linear = nn.Linear(*value.shape, bias=False)
        linear.weight.data = value.T.contiguous()
        modules.append(linear)
    named = dict(modules.named_parameters())
    decayed = [value for name, value in named.items() if "bias" not in name and "norm" not in name.lower()]
    others = [value for name, value in named.items() if "bias" in name or "norm" in name.lower()]
    groups = [{"params": decayed, "weight_decay": case["decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=case["rate"], betas=tuple(case["betas"]), eps=case["epsilon"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: part_of_peak(case, step))
    batches = [part(weights, f"batch.{number}.") for number in range(len(case["tasks"]))]
    losses = textbrewer_losses.losses if textbrewer else Losses
    loss_of = losses(case, student, teacher, list(modules)[1:])

    def step(number: int) -> dict[str, float]:
        batch, task = batches[number % len(batches)], case["tasks"][number % len(batches)]
        start = time.perf_counter()
        lower = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with lower:
            loss = loss_of(batch, task)
        loss.backward()
        nn.utils.clip_grad_norm_([value for value in named.values() if value.grad is not None], case["norm"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        return {"seconds": time.perf_counter() - start, "loss": float(loss.detach()), "resident": resident()}

    return step


def part_of_peak(case: Mapping[str, Any], step: int) -> float:
    if step < case["warmup"]:
        return step / max(1, case["warmup"])
    return max(0.0, (case["steps"] - step) / max(1, case["steps"] - case["warmup"]))


def part(weights: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What has a prefix, without it."""
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def model_of(weights: dict[str, Any], heads: int, kernel: str) -> Any:
    """The encoder of the weights with its heads; `kernel` is transformers' name of what computes attention."""
    only = next(iter(weights)).partition(".")[0]
    weights = part(weights, f"{only}.") if only not in ("encoder", "heads") else weights
    return bilstm(weights) if part(weights, "encoder.pooling.") else bert(weights, heads, kernel)


def bert(weights: dict[str, Any], heads: int, kernel: str) -> Any:
    import torch
    from torch import nn
    from transformers import BertConfig, BertModel

    vocab, width = weights["encoder.embeddings.word_embeddings.weight"].shape
    layers = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("encoder.encoder.layers."))
    config = BertConfig(
        vocab_size=vocab, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=weights["encoder.encoder.layers.0.linear1.bias"].shape[0],
        max_position_embeddings=len(weights["encoder.embeddings.position_embeddings.weight"]),
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation=kernel,
    )  # fmt: skip
    encoder = BertModel(config)
    encoder.load_state_dict({**encoder.state_dict(), **dict(bert_names(part(weights, "encoder.")))})

    class Bert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.heads = encoder, head_layers(weights)

        def forward(self, batch: Any, task: str, upto: int = layers) -> tuple[Any, list[Any]]:
            """The logits (of a shortened pass the last hidden state) and all hidden states."""
            mask = batch["attention_mask"]
            found = self.encoder.embeddings(batch["input_ids"], batch["token_type_ids"])
            bias = None if bool(mask.all()) else (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
            states = []
            for layer in self.encoder.encoder.layer[:upto]:
                found = layer(found, bias)[0]
                states.append(found)
            return (self.heads[task](self.encoder.pooler(found)) if upto == layers else found), states

    return Bert()


def bert_names(weights: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in weights.items():
        stem, _, kind = name.rpartition(".")
        if stem.startswith("encoder.layers."):
            _, _, number, rest = stem.split(".", 3)
            stem = f"encoder.layer.{number}.{LAYER[rest]}"
        stem = stem.replace("layer_norm", "LayerNorm")
        yield f"{stem}.{kind}", value.T if value.ndim == 2 and "embeddings" not in stem else value


def bilstm(weights: dict[str, Any]) -> Any:
    import torch
    from torch import nn

    found = part(weights, "encoder.")
    vocab, embedding = found["embeddings.word_embeddings.weight"].shape
    hidden = found["pooling.query.weight"].shape[0]

    class BiLstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word = nn.Embedding(vocab, embedding)
            self.segment = nn.Embedding(2, embedding)
            self.norm = nn.LayerNorm(embedding)
            self.lstm = nn.LSTM(embedding, hidden // 2, batch_first=True, bidirectional=True)
            self.attention, self.query = nn.Linear(hidden, hidden), nn.Linear(hidden, 1, bias=False)
            self.comparison = nn.Linear(4 * hidden, hidden)
            self.heads = head_layers(weights)

        def forward(self, batch: Any, task: str) -> tuple[Any, list[Any]]:
            mask, kinds = batch["attention_mask"], batch["token_type_ids"].bool()
            embedded = self.norm(self.word(batch["input_ids"]) + self.segment(batch["token_type_ids"]))
            packed = nn.utils.rnn.pack_padded_sequence(embedded, mask.sum(1), batch_first=True, enforce_sorted=False)
            sequence, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], True, total_length=mask.shape[1])
            scores = self.query(torch.tanh(self.attention(sequence))).transpose(1, 2)
            texts = torch.stack([~kinds, kinds], 1) & mask.bool()[:, None]
            shares = torch.softmax(torch.where(texts, scores, -1.0e4), -1) * texts
            one, other = (shares.to(sequence.dtype) @ sequence).unbind(1)
            features = torch.cat([one, other, (one - other).abs(), one * other], -1)
            return self.heads[task](torch.tanh(self.comparison(features))), []

    model = BiLstm()
    own = {
        "word.weight": found["embeddings.word_embeddings.weight"],
        "segment.weight": found["embeddings.token_type_embeddings.weight"],
        **{f"norm.{kind}": found[f"embeddings.layer_norm.{kind}"] for kind in ("weight", "bias")},
        **{
            f"lstm.{name.split('.')[-1]}": value
            for name, value in found.items()
            if name.startswith("encoder.layers.0.")
        },
        "query.weight": found["pooling.query.weight"].T,
    }
    for name in ("attention", "comparison"):
        own[f"{name}.weight"] = found[f"pooling.{name}.weight"].T
        own[f"{name}.bias"] = found[f"pooling.{name}.bias"]
    model.load_state_dict({**model.state_dict(), **own})
    return model


def head_layers(weights: Mapping[str, Any]) -> Any:
    from torch import nn

    heads = nn.ModuleDict()
    for name, value in part(weights, "heads.").items():
        task, _, kind = name.partition(".dense.")
        if kind == "weight":
            heads[task] = nn.Linear(*value.shape)
            heads[task].weight.data = value.T.contiguous()
            heads[task].bias.data = weights[f"heads.{task}.dense.bias"]
    return heads


class Losses:
    """The terms of a case, summed."""

    def __init__(self, case: Mapping[str, Any], student: Any, teacher: Any, projections: list[Any]) -> None:
        self.case, self.student, self.teacher, self.projections = case, student, teacher, projections

    def __call__(self, batch: Any, task: str) -> Any:
        import torch
        from torch.nn import functional as F

        if self.case["objective"] == ["relation"]:
            return self.relation(batch, task)
        logits, states = self.student(batch, task)
        total = F.cross_entropy(logits.float(), batch["labels"])
        if "logit_mse" in self.case["objective"]:
            total = total + F.mse_loss(logits.float(), batch["logits"])
        if "soft" in self.case["objective"]:
            with torch.no_grad():
                taught, theirs = self.teacher(batch, task)
            soft = F.kl_div(F.log_softmax(logits.float(), -1), F.softmax(taught.float(), -1), reduction="batchmean")
            total = total + soft + self.latent(batch, states, theirs)
        return total

    def relation(self, batch: Any, task: str) -> Any:
        import torch
        from torch.nn import functional as F

        with torch.no_grad():
            theirs = self.projected(self.teacher, batch, task)
        total = 0.0
        for own, other in zip(self.projected(self.student, batch, task), theirs):
            student, teacher = (scores(each, each, self.case["relation_heads"]) for each in (own, other))
            found = F.kl_div(F.log_softmax(student, -1), F.log_softmax(teacher, -1), reduction="sum", log_target=True)
            total = total + found / (student.numel() // student.shape[-1])
        return total

    def projected(self, model: Any, batch: Any, task: str) -> tuple[Any, Any, Any]:
        """Queries, keys and values of the last layer, behind which nothing is computed."""
        last = model.encoder.encoder.layer[-1].attention.self
        below = model(batch, task, len(model.encoder.encoder.layer) - 1)[0]
        return last.query(below), last.key(below), last.value(below)

    def latent(self, batch: Any, states: list[Any], theirs: list[Any]) -> Any:
        """Scores of attention before the softmax, and hidden states, of mapped layers (TinyBERT)."""
        import torch

        real = batch["attention_mask"].float()
        pairs = (real[:, :, None] * real[:, None, :])[:, None]
        total: Any = 0.0
        for (own, other), projection in zip(self.case["pairs"], self.projections):
            student = self.layer_scores(self.student, own, batch, states, self.case["heads"]["student"])
            with torch.no_grad():
                teacher = self.layer_scores(self.teacher, other, batch, theirs, self.case["heads"]["teacher"])
            total = total + ((student - teacher) ** 2 * pairs).sum() / (pairs.sum() * student.shape[1])
            squares = (projection(states[own]).float() - theirs[other].float()) ** 2
            total = total + (squares.mean(-1) * real).sum() / real.sum()
        return total / len(self.case["pairs"])

    def layer_scores(self, model: Any, number: int, batch: Any, states: list[Any], heads: int) -> Any:
        inner = model.encoder.encoder.layer[number].attention.self
        below = states[number - 1] if number else model.encoder.embeddings(batch["input_ids"], batch["token_type_ids"])
        return scores(inner.query(below), inner.key(below), heads)


def scores(queries: Any, keys: Any, heads: int) -> Any:
    """[rows, length, width] twice to float32 [rows, heads, length, length]."""
    rows, length, width = queries.shape
    one, other = (each.view(rows, length, heads, width // heads).transpose(1, 2) for each in (queries, keys))
    return ((one * (width // heads) ** -0.5) @ other.transpose(2, 3)).float()


if __name__ == "__main__":
    found = parse_args()
    serve(lambda: make(found))

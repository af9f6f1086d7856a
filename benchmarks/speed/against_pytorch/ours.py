"""The worker of this project: takes single steps of a case's stage, as training takes them, when it is asked to."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.speed.against_pytorch.worker import SIDE, peak, resident, serve
from ernie_tiny.batch import Array
from ernie_tiny.config import load_config
from ernie_tiny.files import to_json
from ernie_tiny.runtime import prepare

TEXT_BYTES = 500_000  # of each file of general text
EXAMPLES = 60_000  # of each split: as many rows of the token embeddings are in use as where a stage trains
BATCHES = 24  # that are drawn, and taken in turn
WEIGHTS, CASE = "weights.npz", "case.json"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--override", nargs="*", default=[])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--write", type=Path, help="folder for the weights, batches and settings of the case")
    return parser.parse_args()


class Case:
    """The last stage of a config, with random weights in place of what the stages before it would have made."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        from ernie_tiny.runs.calibration import TimedLoop
        from ernie_tiny.runs.sampled import SampledWorkspace
        from ernie_tiny.training.loop import LoopSettings
        from ernie_tiny.training.stage import prepare_stage

        run = load_config(args.config, [*args.override, f"output_dir={to_json(str(folder))}"])
        self.run, self.stage = run, run.stages[-1]
        workspace = SampledWorkspace(run, EXAMPLES)
        workspace.text_bytes = TEXT_BYTES
        live = replace(self.stage, cache=None)
        self.prepared = prepare_stage(workspace, live, None, folder / "stage", compare_engine=False)
        self.batches = [self.prepared.stream.next_batch() for _ in range(BATCHES)]
        teacher: Any = self.prepared.teacher
        self.teacher_model = None if teacher is None else teacher.model
        self.answers = [teacher(batch).logits.numpy() for batch in self.batches] if self.stage.cache is not None else []
        if self.answers:  # as a cache gives them
            teacher = _Given(self.batches, self.answers)
        optim = self.stage.optim
        settings = LoopSettings(folder / "stage", self.prepared.steps, 0, optim, run.runtime, parts_unused=False)
        self.loop = TimedLoop(self.prepared, teacher, settings, time.perf_counter)
        self.workspace = workspace

    def step(self, number: int) -> dict[str, float]:
        """Takes a step on a batch: its seconds, and its loss before the step."""
        before = float(self.loop._interval.loss)
        batch = self.batches[number % BATCHES]
        seconds = sum(self.loop.time_step(batch))
        loss = float(self.loop._interval.loss) - before
        return {"seconds": seconds, "loss": loss, "tokens": batch.num_tokens, "resident": resident()}

    def write(self, folder: Path) -> None:
        """What the other side needs to compute the same."""
        arrays = {f"network.{name}": value for name, value in _weights(self.prepared.network).items()}
        if self.teacher_model is not None and not self.answers:
            arrays |= {f"teacher.{name}": value.numpy() for name, value in self.teacher_model.state_dict().items()}
        for number, batch in enumerate(self.batches):
            for name in ("input_ids", "token_type_ids", "attention_mask", "labels"):
                value = getattr(batch, name)
                arrays |= {} if value is None else {f"batch.{number}.{name}": value}
            arrays |= {f"batch.{number}.logits": self.answers[number]} if self.answers else {}
        np.savez(folder / WEIGHTS, **arrays)
        optim = self.stage.optim
        case = {
            "tasks": [batch.task for batch in self.batches],
            "objective": sorted(self.stage.objective.terms()),
            "pairs": [list(pair) for pair in self._pairs()],
            "relation_heads": getattr(self.stage.objective.relation, "relation_heads", 0),
            "heads": {"teacher": _heads(self.teacher_model), "student": _heads(self.prepared.network.model)},
            "steps": self.prepared.steps,
            "rate": optim.learning_rate,
            "warmup": int(optim.warmup_ratio * self.prepared.steps),
            "decay": optim.weight_decay,
            "betas": [optim.adam_beta1, optim.adam_beta2],
            "epsilon": optim.adam_epsilon,
            "norm": optim.max_grad_norm,
        }
        (folder / CASE).write_text(to_json(case, indent=1), encoding="utf-8")

    def _pairs(self) -> Any:
        terms = next(iter(self.prepared.network.objectives.values())).terms
        return terms["hidden"].pairs if "hidden" in terms else ()

    def facts(self) -> dict[str, Any]:
        """What is said of a case beside its time."""
        from ernie_tiny.training.flops import stage_flops

        tokens = [batch.num_tokens for batch in self.batches]
        padded = [batch.input_ids.size for batch in self.batches]
        specs = [self.workspace.task(task) for task in self.stage.data.tasks]
        cached = self.stage.cache is not None  # its FLOPs would be those of another stage
        million = None if cached else stage_flops(self.run, self.stage, specs, 1_000_000)
        return {"tokens": float(np.mean(tokens)), "real": sum(tokens) / sum(padded), "flops": (million or 0) / 1e6}


def _weights(network: Any) -> dict[str, Array]:
    """The weights of a network by name, all rows of its token embeddings among them."""
    from ernie_tiny.training.used_rows import UsedRows

    found = {name: value.numpy() for name, value in network.state_dict().items()}
    for name, layer in network.named_sublayers():
        if isinstance(layer, UsedRows):
            found[f"{name}.weight"] = layer.whole_again().weight.numpy()
            del found[f"{name}.row_of_id"], found[f"{name}.decay"]
    return found


def _heads(model: Any) -> int:
    return 0 if model is None else getattr(model.encoder.config, "num_attention_heads", 0)


class _Given:
    """A teacher whose logits are there, as those of a cache are."""

    def __init__(self, batches: Any, answers: Any) -> None:
        self._answers = {id(batch): answer for batch, answer in zip(batches, answers)}
        self.seconds = 0.0

    def __call__(self, batch: Any) -> Any:
        from ernie_tiny.models.signals import Signals, to_tensor

        signals = Signals(to_tensor(batch.attention_mask))
        signals.logits = to_tensor(self._answers[id(batch)])
        return signals


def main() -> None:
    args = parse_args()

    def make() -> Mapping[str, Callable[..., Any]]:
        prepare("cpu", args.threads)
        import paddle

        case = Case(args, Path(folder))
        if args.write is not None:
            case.write(args.write)
        square = paddle.randn([SIDE, SIDE])
        return {"step": case.step, "facts": case.facts, "peak": lambda: peak(lambda: (square @ square).numpy())}

    with tempfile.TemporaryDirectory() as folder:
        serve(make)


if __name__ == "__main__":
    main()

"""Both sides of the speed comparison: a step of either is taken, and where PyTorch is installed their losses agree."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.speed.against_pytorch import run as comparison
from ernie_tiny.data.sample import write_sample

TINY = "{family: bert, num_hidden_layers: 2, hidden_size: 24, num_attention_heads: 4, intermediate_size: 32, "
TINY += "max_position_embeddings: 128, type_vocab_size: 2, hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}"
BILSTM = "{family: bilstm, num_hidden_layers: 1, hidden_size: 24, embedding_size: 12, type_vocab_size: 2, "
BILSTM += "hidden_dropout_prob: 0.0}"
OVERRIDES = {
    "distil": (f"models.student={TINY}", "stages.distil.objective.relation.relation_heads=6"),
    "finetune": (),
    "task": (f"models.student={TINY}",),
    "bilstm": (f"models.student={BILSTM}",),
}
WITH_PYTORCH = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_sample(folder)
    return folder


@pytest.mark.parametrize("case", OVERRIDES, ids=list(OVERRIDES))
def test_the_sides_take_the_same_steps(case: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not WITH_PYTORCH:
        monkeypatch.setattr(comparison, "THEIRS", ())
    monkeypatch.setattr(comparison, "OURS", {"float32": ()})
    stage = "TSD" if case == "task" else "finetune" if case == "finetune" else "distil"
    args = SimpleNamespace(
        data=data, vocabulary=Path("none"), output=tmp_path, rounds=2, threads=1,
        sides=(*comparison.OURS, *comparison.THEIRS), torch_python=comparison.sys.executable,
        override=[
            f"models.teacher={TINY}", "tokenizer={build_from: general, vocab_size: 500}",
            f"stages.{stage}.optim.batch_size=4", f"stages.{stage}.data.max_length=32", *OVERRIDES[case],
        ],
    )  # fmt: skip
    found: dict[str, Any] = comparison.run_case(args, case)
    steps = found["steps"]["float32"]
    assert len(steps) == 2 + comparison.WARM_UP
    losses = [step["loss"] for step in steps]
    assert all(step["seconds"] > 0 for step in steps) and np.isfinite(losses).all()
    assert len(set(losses)) > 1  # it trains, and on other batches
    assert found["facts"]["tokens"] <= 4 * 32
    if WITH_PYTORCH:
        theirs = [step["loss"] for step in found["steps"]["torch-float32"]]
        assert losses == pytest.approx(theirs, rel=comparison.CLOSE, abs=1e-6)

"""Both sides of the speed comparison: a step of either is taken, and where PyTorch is installed their losses agree."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.speed.against_pytorch import run as comparison
from benchmarks.speed.against_pytorch import textbrewer_losses
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
WITH_TEXTBREWER = WITH_PYTORCH and bool(importlib.util.find_spec("textbrewer"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_sample(folder)
    return folder


@pytest.mark.parametrize(
    "case", OVERRIDES if WITH_PYTORCH else ("task", "bilstm")
)  # alone they only show that a step runs
def test_the_sides_take_the_same_steps(case: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not WITH_PYTORCH:
        monkeypatch.setattr(comparison, "THEIRS", ())
    monkeypatch.setattr(comparison, "OURS", {"float32": ()})
    stage = "TSD" if case == "task" else "finetune" if case == "finetune" else "distil"
    brewed = [comparison.TEXTBREWER] if WITH_TEXTBREWER and case == "task" else []
    args = SimpleNamespace(
        data=data, vocabulary=Path("none"), output=tmp_path, rounds=2, threads=1,
        sides=(*comparison.OURS, *comparison.THEIRS, *brewed), torch_python=sys.executable,
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
        assert losses == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    for name in brewed:  # another objective: it trains, and on the same batches
        brewers = [step["loss"] for step in found["steps"][name]]
        assert np.isfinite(brewers).all() and len(set(brewers)) > 1


@pytest.mark.parametrize("cases", [["distil"], ["task", "finetune"], []], ids=["another", "more", "all"])
def test_textbrewer_is_refused_beside_the_cases_that_it_does_not_do(
    cases: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, "--sides", "float32", "textbrewer", *(["--cases", *cases] if cases else []))
    with pytest.raises(SystemExit):
        comparison.parse_args()
    assert "--sides textbrewer: TextBrewer does not do the other cases" in capsys.readouterr().err


def test_textbrewer_is_a_side_of_the_case_task_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch, "--sides", "float32", "textbrewer", "--cases", "task")
    assert comparison.parse_args().sides == ["float32", "textbrewer"]
    ask(monkeypatch)
    assert comparison.TEXTBREWER not in comparison.parse_args().sides


def ask(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(
        sys, "argv", ["run.py", "--data", "data", "--vocabulary", "vocab.txt", "--output", "out", *options]
    )


@pytest.mark.parametrize("missing", ["textbrewer", "tensorboard"], ids=["itself", "what-it-imports"])
def test_one_line_names_the_packages_that_textbrewer_needs(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "textbrewer").mkdir()
    (tmp_path / "textbrewer" / "__init__.py").write_text("import tensorboard\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "textbrewer", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as ended:
        textbrewer_losses.package()
    line = str(ended.value)
    assert line.startswith("the side textbrewer needs the packages textbrewer and tensorboardX")
    assert missing in line.partition(": ")[2] and "\n" not in line


def test_a_worker_that_ends_is_told_by_the_last_line_of_its_log(tmp_path: Path) -> None:
    ends = "import sys; print('first', file=sys.stderr); sys.exit('the side needs a package')"
    with pytest.raises(SystemExit, match=r"a worker ended \(the side needs a package\): see .*log$"):
        comparison.Worker([sys.executable, "-c", ends], tmp_path / "log")


def test_textbrewer_matches_the_layers_of_all_pairs_with_the_weights_of_means() -> None:
    found = textbrewer_losses.matches([[0, 2], [1, 5]], heads=4)
    assert [(match["loss"], match["layer_S"], match["layer_T"], match["weight"]) for match in found] == [
        ("hidden_mse", 0, 2, 0.5),
        ("hidden_mse", 1, 5, 0.5),
        ("attention_mse", 0, 2, 0.125),
        ("attention_mse", 1, 5, 0.125),
    ]

"""What the input costs and whether memory stays level, on the project's sample data and by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.speed import cost_model, growth, input_pipeline, memory
from ernie_tiny.config import load_config
from ernie_tiny.errors import InputError

TINY = "{num_hidden_layers: 1, hidden_size: 24, num_attention_heads: 4, intermediate_size: 32}"
SMALL = [f"models.teacher={TINY}", "tokenizer={build_from: general, vocab_size: 500}"]
SMALL_TEXT = [
    *(*SMALL, f"models.student={TINY}", "stages.distil.objective.relation.relation_heads=6"),
    *("stages.distil.data.max_length=16", "stages.distil.optim.batch_size=4", "stages.distil.optim.max_steps=100000"),
]


def test_the_input_of_text_and_tasks_is_counted_and_timed(sample: Path, tmp_path: Path) -> None:
    text, tasks = (
        measured(tmp_path, name, [*overrides, f"data.root={sample}"])
        for name, overrides in (("distil", SMALL_TEXT), ("finetune", SMALL))
    )
    assert text.real == text.computed == 3 * 4 * 16
    assert 0 < tasks.real <= tasks.computed
    assert text.available > text.real and tasks.available > tasks.real
    assert min(text.reading, tasks.reading, text.batching, tasks.batching) > 0


def measured(folder: Path, name: str, overrides: list[str]) -> input_pipeline.Cost:
    config = input_pipeline.CONFIGS / f"{name}.yaml"
    run = load_config(config, [*overrides, f"output_dir={folder / name}"])
    return input_pipeline.measure(run, run.stages[-1], batches=3)


def test_a_token_costs_its_part_of_reading_all_and_of_the_batches_drawn() -> None:
    cost = input_pipeline.Cost(real=800, computed=1000, available=100_000, reading=2.0, batching=0.004, batches=4)
    assert cost.seconds == pytest.approx(2.0 / 100_000 + 0.004 / 800)
    assert input_pipeline.row("distil", cost) == ["distil", "40,000", "80.0%", "5.0"]


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("base", lambda folder: growth.measure(SimpleNamespace(output=folder.parent), "base")),
        ("mitkd", lambda folder: cost_model.compare("mitkd", folder, 1.0)),
        ("0", lambda folder: memory.main()),
    ],
    ids=["growth", "cost_model", "memory"],
)
def test_no_folder_of_another_is_removed(name: str, measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["memory.py", "--data", ".", "--vocabulary", "v", "--output", str(tmp_path)])
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").touch()
    with pytest.raises(InputError, match="of another origin"):
        measure(tmp_path / name)
    assert (tmp_path / name / "mine").is_file()


def test_a_process_s_own_memory_is_part_of_what_is_resident() -> None:
    script = "import sys; held = bytearray(b'x') * 200_000_000; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        total, own = memory.resident(process.pid)
        process.kill()
    assert 200_000_000 < own < total < 300_000_000


def test_memory_is_judged_from_the_minute_at_which_it_has_settled() -> None:
    giga = 10**9
    samples = [
        (1.0, giga, giga, 1), (2.0, 2 * giga, giga, 30), (3.0, 21 * 10**8, giga, 45), (4.0, 19 * 10**8, 102 * 10**7, 60)
    ]  # fmt: skip
    assert memory.cells(samples, 2.0) == ["2.0 to 4.0", "30 to 60", "2,000", "1,900", "2,100", "10.0%", "2.0%"]
    with pytest.raises(SystemExit, match="no reading after minute 5"):
        memory.cells(samples, 5.0)


def test_a_run_is_watched_while_it_trains_and_ended(sample: Path, tmp_path: Path) -> None:
    args = SimpleNamespace(data=sample, vocabulary="none", override=SMALL_TEXT, minutes=0.02, every=0.2)
    samples = memory.watch(args, tmp_path / "run", "corpus/general.txt")
    assert len(samples) >= 3 and np.diff([sample[0] for sample in samples]).min() > 0
    assert all(own < total for _, total, own, _ in samples)
    assert samples[-1][3] > samples[0][3]
    assert len((tmp_path / "run.csv").read_text().splitlines()) == len(samples)


def test_a_run_that_ends_early_is_named_by_its_log(sample: Path, tmp_path: Path) -> None:
    args = SimpleNamespace(data=sample, vocabulary="none", override=["no.such.key=1"], minutes=0.02, every=0.2)
    with pytest.raises(SystemExit, match=r"ended before its minutes were over: see .*run\.log"):
        memory.watch(args, tmp_path / "run", "corpus/general.txt")

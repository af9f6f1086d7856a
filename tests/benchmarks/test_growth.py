"""What a run costs as it grows: the cases, run tiny, and the table of what they cost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.speed import growth
from ernie_tiny.config import load_config
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS

TINY = "{family: bert, num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}"
COSTS = {
    "text": 10.0,
    "prepare": 8.0,
    "prepare_peak": 600.0,
    "stored": 7.0,
    "step": 1.5,
    "resident": 1400.0,
    "own": 1000.0,
}


def run(monkeypatch: pytest.MonkeyPatch, data: Path, folder: Path, *more: str) -> None:
    command = ["growth.py", "--data", str(data), "--vocabulary", str(folder / "vocab.txt"), "--output", str(folder)]
    monkeypatch.setattr(sys, "argv", [*command, *more])
    growth.main()


def test_a_case_is_prepared_trained_and_measured_once(sample, tmp_path, monkeypatch, capsys):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *"的一是不了在人有我他"]), encoding="utf-8")
    small = [f"models.{name}={TINY}" for name in ("teacher", "student0", "student1", "student2")]
    small += ["stages.distil.objective.relation.relation_heads=2", "stages.distil.data.max_length=16"]
    arguments = ["--cases", "students-3", "--megabytes", "0.02", "--steps", "3", "--warm-up", "1"]
    run(monkeypatch, sample, tmp_path, *arguments, "-o", *small)
    table = capsys.readouterr().out
    costs = json.loads((tmp_path / "students-3.json").read_text())
    assert 0.005 < costs["text"] < 0.03
    assert 0 < costs["step"] < costs["prepare"]
    assert 50 < costs["own"] < costs["resident"] and costs["prepare_peak"] > 50
    assert costs["stored"] > 0.005
    events = [json.loads(line) for line in (tmp_path / "students-3/run/events.jsonl").read_text().splitlines()]
    assert any(event["event"] == "log" for event in events)
    stamp = (tmp_path / "students-3.json").stat().st_mtime_ns
    run(monkeypatch, sample, tmp_path, *arguments)
    assert capsys.readouterr().out == table
    assert (tmp_path / "students-3.json").stat().st_mtime_ns == stamp


def test_a_cost_has_its_ratio_to_the_first_case(tmp_path, monkeypatch, capsys):
    for case, times in (("base", 1), ("length-10", 2)):
        (tmp_path / f"{case}.json").write_text(json.dumps({name: times * cost for name, cost in COSTS.items()}))
    run(monkeypatch, tmp_path, tmp_path, "--cases")
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert rows[0].startswith("| base | 10 | 1 | 30 x 128 | 8.0 (1.00) | 600 (1.00) | 7.0 (1.00) | 1.50 (1.00) |")
    assert rows[1].startswith("| length-10 | 20 | 1 | 3 x 1,280 | 16.0 (2.00) | 1,200 (2.00) |")


def test_every_case_has_the_tokens_of_the_first_and_its_students():
    run = load_config(growth.CONFIG, ["tokenizer.vocab=vocab.txt"])
    for _, students, length in growth.CASES.values():
        assert growth.INPUTS // length * growth.LENGTH * length == growth.INPUTS * growth.LENGTH
        assert {f"student{number}" for number in range(students)} <= set(run.models)
        assert run.models["teacher"].max_position_embeddings >= growth.LENGTH * length


def test_a_share_of_the_text_has_the_same_part_of_every_file_in_whole_lines(tmp_path):
    for name, count in (("a.txt", 100), ("b.txt", 300)):
        (tmp_path / name).write_text("123456789\n" * count)
    files = sorted(tmp_path.glob("*.txt"))
    written = growth.write_share(files, tmp_path / "share", 1000)
    sizes = [(tmp_path / "share" / name).stat().st_size for name in ("a.txt", "b.txt")]
    assert written == sum(sizes) and [size % 10 for size in sizes] == [0, 0]
    assert 250 <= sizes[0] <= 260 and 750 <= sizes[1] <= 760
    with pytest.raises(SystemExit, match="more than there are: give --megabytes"):
        growth.write_share(files, tmp_path / "more", 5000)

"""A run folder belongs to one config, of which some keys may change."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.runs import changes
from ernie_tiny.runs.changes import Change, differences, write_config
from ernie_tiny.runs.run_folders import MADE, RESULTS_FILE
from ernie_tiny.training.checkpoint import STAGE_RESULT_FILE

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def load(folder: Path, *overrides: str):
    return load_config(CONFIGS / "quickstart.yaml", [f"output_dir={folder}", f"data.root={folder}/data", *overrides])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("runtime.threads=3", "changed: runtime.threads: 0 -> 3"),
        ("runtime.save_steps=3", "changed: runtime.save_steps: 100 -> 3"),
        ("runtime.device=cpu", "changed: runtime.device: auto -> cpu"),
        ("report.examples=40", "changed: report.examples: None -> 40"),
        ("export.tolerance=0.1", "changed: export.tolerance: 0.0001 -> 0.1"),
        ("output_dir=elsewhere", "-> elsewhere"),
        ("data.root=elsewhere", "-> elsewhere"),
        ("stages.distil.optim.max_steps=900", "changed: stages.distil.optim.max_steps: 300 -> 900. If the stage has "
         "begun, its next step has the learning rate and the terms' weights that a stage of 900 steps has there"),
    ],
)  # fmt: skip
def test_what_may_change_is_said_and_recorded(
    override: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_config(load(tmp_path), tmp_path)
    changed = load(tmp_path, override)
    with caplog.at_level(logging.INFO):
        write_config(changed, tmp_path)
    assert [said in record.getMessage() for record in caplog.records] == [True]
    assert load_config(tmp_path / "config.yaml") == changed


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=7", "seed"),
        ("name=other", "name"),
        ("data.sample=false", "data.sample"),
        ("runtime.precision=bfloat16", "runtime.precision"),
        ("models.student.hidden_size=48", "models.student.hidden_size"),
        ("stages.distil.optim.learning_rate=0.1", "stages.distil.optim.learning_rate"),
        ("stages.distil.optim.max_steps=200", "stages.distil.optim.max_steps"),
        ("stages.distil.objective.relation.weight=2.0", "stages.distil.objective.relation.weight"),
        ("stages.finetune.data.tasks=[tnews]", "stages.finetune.data.tasks"),
        ("stages.finetune.optim.epochs=9", "stages.finetune.optim.epochs"),
    ],
)
def test_what_may_not_change_is_refused_by_its_key(override: str, key: str, tmp_path: Path) -> None:
    write_config(load(tmp_path), tmp_path)
    for stage in ("distil", "finetune"):
        (tmp_path / "stages" / stage).mkdir(parents=True)
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(InputError) as error:
        write_config(load(tmp_path, override, "runtime.threads=1"), tmp_path)
    assert f"different: {key}. Give" in str(error.value)
    assert (tmp_path / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "override",
    ["stages.distil.optim.learning_rate=0.1", "stages.distil.optim.max_steps=200", "stages.distil.data.max_length=32"],
)
def test_a_stage_that_has_not_begun_may_change(override: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_config(load(tmp_path), tmp_path)
    (tmp_path / "stages/enhance").mkdir(parents=True)
    with caplog.at_level(logging.INFO):
        write_config(load(tmp_path, override), tmp_path)
    assert f"changed: {override.split('=')[0]}: " in caplog.text
    assert load_config(tmp_path / "config.yaml") == load(tmp_path, override)
    (tmp_path / "stages/distil").mkdir()
    with pytest.raises(InputError, match="different: stages.distil.optim.weight_decay"):
        write_config(load(tmp_path, override, "stages.distil.optim.weight_decay=0.3"), tmp_path)


@pytest.mark.parametrize(
    "overrides",
    [
        ["stages.scratch.skip=true", "report.baseline=null"],
        ["stages.distil.name=first", "stages.first.optim.max_steps=900", "stages.finetune.train=student@first"],
        ["stages.scratch.name=alone", "report.baseline=student@alone"],
    ],
)
def test_the_stages_of_a_run_are_those_that_it_began_with(overrides: list[str], tmp_path: Path) -> None:
    write_config(load(tmp_path), tmp_path)
    (tmp_path / "stages/distil").mkdir(parents=True)
    with pytest.raises(InputError, match=r"different: stages\. Give"):
        write_config(load(tmp_path, *overrides), tmp_path)


@pytest.mark.parametrize("made", MADE)
def test_everything_may_change_until_something_is_made(made: str, tmp_path: Path) -> None:
    changes = (
        "seed=7",
        "models.student.max_position_embeddings=64",
        "stages.scratch.skip=true",
        "report.baseline=null",
    )
    write_config(load(tmp_path), tmp_path)
    write_config(load(tmp_path, *changes), tmp_path)
    assert load_config(tmp_path / "config.yaml") == load(tmp_path, *changes)
    assert environment(tmp_path)["seed"] == 7 and "continued_with" not in environment(tmp_path)
    (tmp_path / made).mkdir()
    with pytest.raises(InputError, match=r"different: models\.student\.max_position_embeddings, stages, seed\. Give"):
        write_config(load(tmp_path), tmp_path)


def test_steps_of_a_finished_stage_may_not_change(tmp_path: Path) -> None:
    write_config(load(tmp_path), tmp_path)
    (tmp_path / "stages/distil").mkdir(parents=True)
    (tmp_path / "stages/distil" / STAGE_RESULT_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"different: stages\.distil\.optim\.max_steps\. Give"):
        write_config(load(tmp_path, "stages.distil.optim.max_steps=900"), tmp_path)


def test_steps_may_not_outgrow_a_cache_of_general_text(tmp_path: Path) -> None:
    cache = "stages.distil.cache={precision: float32}"
    write_config(load(tmp_path, cache), tmp_path)
    (tmp_path / "stages/distil").mkdir(parents=True)
    with pytest.raises(InputError, match=r"stages\.distil\.optim\.max_steps"):
        write_config(load(tmp_path, cache, "stages.distil.optim.max_steps=900"), tmp_path)


@pytest.mark.parametrize("override", ["report.examples=40", "export.model=null"])
def test_results_that_are_written_name_the_way_to_make_them_anew(override: str, tmp_path: Path) -> None:
    write_config(load(tmp_path), tmp_path)
    (tmp_path / RESULTS_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=f"Or remove {tmp_path / RESULTS_FILE}: .* made anew"):
        write_config(load(tmp_path, override), tmp_path)
    (tmp_path / RESULTS_FILE).unlink()
    write_config(load(tmp_path, override), tmp_path)


def test_a_key_that_a_later_version_adds_is_no_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_config(load(tmp_path), tmp_path)
    config_file = tmp_path / "config.yaml"
    lines = config_file.read_text(encoding="utf-8").splitlines()
    config_file.write_text("\n".join(line for line in lines if "keep_checkpoints" not in line), encoding="utf-8")
    with caplog.at_level(logging.INFO):
        write_config(load(tmp_path), tmp_path)
    assert caplog.text == "" and config_file.read_text(encoding="utf-8").splitlines() == lines


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": {"c": 2}}, {"a": 2, "b": {"c": 3}}, [("a", 1, 2), ("b.c", 2, 3)]),
        ({"a": 1}, {"b": 1}, [("a", 1, None), ("b", None, 1)]),
        ({"a": {"b": 1}}, {"a": None}, [("a", {"b": 1}, None)]),
        ({"s": [{"name": "x", "v": 1}, {"name": "y", "v": 1}]}, {"s": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]},
         [("s.y.v", 1, 2)]),
        ({"s": [{"name": "x"}, {"name": "y"}]}, {"s": [{"name": "y"}, {"name": "x"}]},
         [("s", [{"name": "x"}, {"name": "y"}], [{"name": "y"}, {"name": "x"}])]),
        ({"s": [1, 2]}, {"s": [1, 3]}, [("s.1", 2, 3)]),
        ({"s": [1, 2]}, {"s": [1]}, [("s", [1, 2], [1])]),
    ],
)  # fmt: skip
def test_differences(before: dict, now: dict, changes: list[tuple]) -> None:
    assert list(differences(before, now)) == [Change(*change) for change in changes]


def environment(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key != "checksum"}


def test_what_a_run_was_made_with_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = load(tmp_path)
    (tmp_path / "stages").mkdir()
    for version in ("1", "1", "2", "2", "1"):  # begun, repeated, gone on with another, and back
        monkeypatch.setattr(changes, "versions", lambda version=version: {"paddle": version})
        with caplog.at_level(logging.INFO):
            write_config(run, tmp_path)
    found = environment(tmp_path)
    assert found["versions"] == {"paddle": "1"}
    assert [later["versions"]["paddle"] for later in found["continued_with"]] == ["2", "1"]
    assert [record.getMessage() for record in caplog.records] == [
        f"goes on in another environment: versions.paddle: {step}" for step in ("1 -> 2", "2 -> 1")
    ]
    (tmp_path / RESULTS_FILE).write_text("{}", encoding="utf-8")
    monkeypatch.setattr(changes, "versions", lambda: {"paddle": "3"})
    write_config(run, tmp_path)  # of a finished run, which it only shows
    assert environment(tmp_path) == found

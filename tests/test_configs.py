"""Every config that ships loads, says what it is, and plans without Paddle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ernie_tiny.config import load_config, to_yaml
from ernie_tiny.runs.plan import plan

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "_base_")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT / "configs"))


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_a_config_loads_and_is_read_back_equal(path: Path, tmp_path: Path) -> None:
    run = load_config(path)
    merged = tmp_path / "merged.yaml"
    merged.write_text(to_yaml(run), encoding="utf-8")
    assert load_config(merged) == run


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_a_config_plans_every_stage(path: Path) -> None:
    run = load_config(path)
    text = plan(run)
    for stage in run.stages:
        assert f"  {stage.name}: trains {stage.train}" in text


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_a_config_opens_with_its_command(path: Path) -> None:
    head = path.read_text(encoding="utf-8").split("_BASE_")[0]
    assert "Command:" in head and "Cost:" in head


def test_check_prints_the_published_parameter_count_of_nano() -> None:
    printed = _check("configs/mitkd/nano.yaml")
    assert printed.returncode == 0, printed.stderr
    assert "17.91 M parameters" in printed.stdout
    assert "117.94 M parameters" in printed.stdout


def test_check_names_the_widths_that_divide() -> None:
    printed = _check("configs/mitkd/nano.yaml", "models.student.hidden_size=310")
    assert printed.returncode == 2
    assert "num_attention_heads = 12 does not divide hidden_size 310" in printed.stderr
    assert "300, 312" in printed.stderr
    assert "Traceback" not in printed.stderr


def test_check_does_not_import_paddle() -> None:
    script = (
        "import sys; from ernie_tiny.config import load_config; from ernie_tiny.runs.plan import plan; "
        "plan(load_config('configs/quickstart.yaml')); assert 'paddle' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def _check(config: str, *overrides: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "tools/train.py", "-c", config, "--check"]
    if overrides:
        command += ["-o", *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

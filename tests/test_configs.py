"""Every config that ships loads, says what it is, and is checked where there is no Paddle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ernie_tiny.config import load_config, to_yaml
from ernie_tiny.runs.plan import plan
from tests.tools import ROOT, tool

CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "_base_")
STUDIES = sorted(path for path in (ROOT / "benchmarks").rglob("*.yaml") if not path.name.startswith("_"))
SHIPPED = [*CONFIGS, *STUDIES]
# Of the studies' configs that go on from the run of another: that other, which stands before it.
BASES = {
    "study/pretrain": None,
    "study/teachers": "study/pretrain",
    "study/students": "study/teachers",
    "study/follow_up": "study/students",
    "real_teacher/teachers": None,
    "real_teacher/pilot": "real_teacher/teachers",
    "real_teacher/pilot_rates": "real_teacher/pilot",
    "real_teacher/enhanced": "real_teacher/teachers",
    "real_teacher/agnostic": "real_teacher/enhanced",
    "real_teacher/combined": "real_teacher/agnostic",
    "real_teacher/gd": "real_teacher/teachers",
    "real_teacher/progressive": "real_teacher/gd",
    "real_teacher/joint": "real_teacher/enhanced",
    "engine_precision/teacher": None,
    "engine_precision/students": "engine_precision/teacher",
}
# Runs the tool on lists of arguments, one a line, with an import of Paddle an error; prints code and output of each.
WITHOUT_PADDLE = """
import contextlib, io, json, runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("paddle", "paddlenlp"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refuse())
for line in sys.stdin:
    sys.argv = ["tools/train.py", *json.loads(line)]
    code, said = 0, io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as left:
            code = left.code or 0
        except ImportError as error:
            code = 1
            print(error)
    print(json.dumps([code, said.getvalue()]))
"""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT)).replace("configs/", "")


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
    printed = tool("train", "-c", "configs/mitkd/nano.yaml", "--check")
    assert "17.91 M parameters" in printed.stdout
    assert "117.94 M parameters" in printed.stdout


def test_check_names_the_widths_that_divide() -> None:
    narrower = ("-o", "models.student.hidden_size=310")
    printed = tool("train", "-c", "configs/mitkd/nano.yaml", "--check", *narrower, code=2)
    assert "num_attention_heads = 12 does not divide hidden_size 310" in printed.stderr
    assert "300, 312" in printed.stderr
    assert "Traceback" not in printed.stderr


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, tuple[int, str]]:
    """Exit code and output of --check of each config, by its file, from a process in which Paddle is not to be had."""
    folder = tmp_path_factory.mktemp("runs")
    overrides: dict[Path, list[str]] = {}
    for config, base in BASES.items():
        path = ROOT / f"benchmarks/quality/{config}.yaml"
        given = [f"base_run={folder / base}"] if base is not None else []
        overrides[path] = ["-o", *given] if given else []
        run = load_config(path, [*given, f"output_dir={folder / config}"])
        (folder / config).mkdir(parents=True)
        (folder / config / "config.yaml").write_text(to_yaml(run), encoding="utf-8")
    found = without_paddle([["-c", str(path), "--check", *overrides.get(path, [])] for path in SHIPPED])
    return dict(zip(SHIPPED, found))


def without_paddle(commands: list[list[str]]) -> list[tuple[int, str]]:
    lines = "".join(json.dumps(arguments) + "\n" for arguments in commands)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PADDLE], cwd=ROOT, input=lines, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [(code, said) for code, said in map(json.loads, done.stdout.splitlines())]


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_a_config_is_checked_where_paddle_cannot_be_imported(path: Path, checked: dict[Path, tuple[int, str]]) -> None:
    code, said = checked[path]
    assert code == 0 and "trains" in said, said


def test_training_which_takes_paddle_fails_there(tmp_path: Path) -> None:
    ((code, said),) = without_paddle([["-c", "configs/quickstart.yaml", "-o", f"output_dir={tmp_path / 'run'}"]])
    assert code != 0 and "paddle is not to be imported" in said

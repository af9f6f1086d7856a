"""The program ernie-tiny and the files of tools/, from a clone in which nothing is installed too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ernie_tiny import __version__
from ernie_tiny.cli.command import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(name.replace("-", "_") for name in COMMANDS)


def test_every_tool_is_a_command_and_every_command_a_tool() -> None:
    tools = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tools").glob("*.py")}
    assert sorted(tools) == NAMES
    assert {source.replace(f'"{name}"', '"train"') for name, source in tools.items()} == {tools["train"]}
    sources = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "ernie_tiny" / "cli").glob("*.py")}
    assert sorted(name for name, source in sources.items() if "\ndef add_arguments(" in source) == NAMES


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_shows_its_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "-h"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: ernie-tiny {command} ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"ernie-tiny {__version__}\n")


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["trian"])
    assert caught.value.code == 2
    assert "invalid choice: 'trian' (choose from" in capsys.readouterr().err


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that says that it is the one that runs."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("ernie_tiny", "tools", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "ernie_tiny/cli/train.py").open("a", encoding="utf-8") as file:
        file.write('\n\nprint("the clone runs")\n')
    return folder


def test_tools_and_launcher_run_in_a_clone_that_is_not_installed(clone: Path, tmp_path: Path) -> None:
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", "1", "--log_dir", str(tmp_path / "log")]
    # Without `site`, no .pth file leads to an installed copy; libraries are found all the same.
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "OMP_NUM_THREADS": "1"}
    starts = (["-S", "tools/train.py"], ["-S", "ernie_tiny/cli/__main__.py", "train"], [*launcher, "tools/train.py"])
    for start in starts:
        command = [sys.executable, *start, "-c", "configs/quickstart.yaml", "--check"]
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "the clone runs" in done.stdout and "quickstart" in done.stdout

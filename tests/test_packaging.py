"""The package as it is installed, and the Makefile that installs it, here with commands that only pretend."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("python3", "python3.12", "python3.11", "python3.10", "python3.9")
NEEDS_MAKE = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

UNSUITABLE = "#!/bin/sh\nexit 1\n"
# Creates a .venv whose python notes its arguments in `calls` and fails to install while `broken` exists.
SUITABLE = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p .venv/bin
    cat > .venv/bin/python <<'END'
#!/bin/sh
echo "$@" >> calls
case "$*" in *install*) test ! -e broken;; esac
END
    chmod +x .venv/bin/python
fi
"""
NO_ENSUREPIP = """#!/bin/sh
[ "$2" != venv ]
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with the Makefile, and a PATH folder where no Python is suitable."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "setup.py").touch()
    for name in NAMES:
        command(tmp_path, name, UNSUITABLE)
    return tmp_path


def command(folder: Path, name: str, script: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        ["make", ".venv/installed", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_every_folder_of_the_package_is_installed():
    folders = {path.parent for path in (ROOT / "ernie_tiny").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_data_file_of_the_package_is_installed(tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    kinds = (".html", ".md", ".mplstyle", ".csv", ".json", ".txt")
    files = [path.relative_to(ROOT) for path in (ROOT / "ernie_tiny").rglob("*") if path.suffix in kinds]
    assert files and [file for file in files if not (tmp_path / file).is_file()] == []


def test_version_is_that_of_the_package():
    done = subprocess.run([sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True)
    stated = (ROOT / "ernie_tiny/__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{done.stdout.split()[-1]}"' in stated


def test_hooks_and_hosted_workflow_run_the_same_two_commands():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))["jobs"]
    run = [[hook["entry"] for repository in hooks for hook in repository["hooks"]]]
    run += [[step["run"] for step in job["steps"] if "run" in step] for job in jobs.values()]
    assert run == [["make lint", "make test"]] * 2


@NEEDS_MAKE
def test_no_suitable_python_is_one_clear_line(clone):
    done = make(clone)
    assert done.returncode != 0
    assert "error: Python 3.9 to 3.12 is needed" in done.stderr.splitlines()[0]
    assert not (clone / ".venv").exists()


@NEEDS_MAKE
def test_first_suitable_python_is_taken_and_installed_once(clone):
    command(clone, "python3.11", SUITABLE)
    assert make(clone).returncode == 0
    assert "-e .[cpu,test]" in (clone / "calls").read_text()
    assert "up to date" in make(clone).stdout


@NEEDS_MAKE
def test_python_that_the_user_names_is_not_replaced(clone):
    command(clone, "python3.11", SUITABLE)
    done = make(clone, "PYTHON=python3.10")
    assert "found none among: python3.10." in done.stderr
    assert not (clone / ".venv").exists()


@NEEDS_MAKE
def test_failed_installation_is_tried_again(clone):
    command(clone, "python3", SUITABLE)
    (clone / "broken").touch()
    assert make(clone).returncode != 0
    assert not (clone / ".venv/installed").exists()
    (clone / "broken").unlink()
    assert make(clone).returncode == 0
    assert (clone / ".venv/installed").exists()


@NEEDS_MAKE
def test_newer_setup_is_installed_and_its_failure_leaves_no_stamp(clone):
    command(clone, "python3", SUITABLE)
    assert make(clone).returncode == 0
    later = (clone / ".venv/installed").stat().st_mtime + 10
    os.utime(clone / "setup.py", (later, later))
    (clone / "broken").touch()
    assert make(clone).returncode != 0
    assert not (clone / ".venv/installed").exists()


@NEEDS_MAKE
def test_missing_ensurepip_tells_how_to_mend_it(clone):
    command(clone, "python3", NO_ENSUREPIP)
    done = make(clone)
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr

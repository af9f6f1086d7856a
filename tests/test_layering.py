"""The house keeps its floors: who may import whom, and how long a file or a function may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOPS = (ROOT / "ernie_tiny", ROOT / "tools")
FILES = sorted(path.relative_to(ROOT) for top in TOPS for path in top.rglob("*.py"))
PACKAGE = ""  # ernie_tiny/__init__.py itself
FLOORS = {
    PACKAGE: 0, "errors": 0, "batch": 0, "runtime": 0, "processes": 0, "files": 0, "kind_facts": 0,
    "family_facts": 0, "engine_facts": 0,
    "config": 1, "data": 1, "models": 1,
    "kinds": 2, "engines": 2,
    "distill": 3, "evaluation": 3, "leaderboard": 3,
    "training": 4, "report": 4, "serving": 4,
    "runs": 5,
    "cli": 6,
    "tools": 7,
}  # fmt: skip
EVERYWHERE = (PACKAGE, "errors", "batch")
WITHOUT_PADDLE = ("config", "data", "kinds")  # rooms that are imported without it; config never imports it at all
PADDLE = ("paddle", "paddlenlp")
MAX_FILE, MAX_COMMAND, MAX_TOOL, MAX_FUNCTION = 400, 60, 8, 60

Import = tuple[str, int]


def room(module: str) -> str:
    """The package below ernie_tiny that a dotted name belongs to, "tools", or PACKAGE."""
    parts = module.split(".")
    if parts[0] == "tools":
        return "tools"
    return parts[1] if len(parts) > 1 else PACKAGE


def room_of_file(path: Path) -> str:
    inner = path.with_suffix("").parts
    return room(".".join(inner[:-1] if inner[-1] == "__init__" else inner))


def imports(path: Path, nodes: Iterator[ast.AST]) -> Iterator[Import]:
    """The absolute dotted names that the import statements among `nodes` name, with their lines."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = path.parent.parts
            above = folder[: len(folder) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            if module == "ernie_tiny":
                names = [alias.name for alias in node.names]
                yield from ((f"{module}.{name}" if name in FLOORS else module, node.lineno) for name in names)
            else:
                yield module, node.lineno


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, save what stands inside a function or is for type checkers alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from run_at_import(child)


def forbidden_imports(path: Path, source: str) -> list[str]:
    """The imports of a file that the floors do not allow, each with its line."""
    tree = ast.parse(source)
    here = room_of_file(path)
    found = []
    # What the package itself offers, it imports when it is asked for.
    for module, line in imports(path, run_at_import(tree) if here == PACKAGE else ast.walk(tree)):
        if module.split(".")[0] in ("ernie_tiny", "tools"):
            there = room(module)
            below = FLOORS[there] < FLOORS[here] and here != PACKAGE
            if there not in (here, *EVERYWHERE) and not below:
                found.append(f"{path}:{line}: {here or 'ernie_tiny'} may not import {module}")
    unwanted = iter(())
    if here in WITHOUT_PADDLE:
        unwanted = ast.walk(tree) if here == "config" else run_at_import(tree)
    for module, line in imports(path, unwanted):
        if module.split(".")[0] in PADDLE:
            found.append(f"{path}:{line}: {here} may not import {module} here")
    return found


def overlong_parts(path: Path, source: str) -> list[str]:
    """The file itself and those of its functions that are too long."""
    lines = len(source.splitlines())
    if path.parts[0] == "tools":
        allowed = MAX_TOOL
    else:
        allowed = MAX_COMMAND if path.parts[:2] == ("ernie_tiny", "cli") else MAX_FILE
    found = [f"{path}: {lines} lines, at most {allowed}"] if lines > allowed else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION}")
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_file_keeps_to_its_floor_and_is_short(path):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert room_of_file(path) in FLOORS, f"{path} stands on no floor"
    assert path.name != "utils.py"
    assert forbidden_imports(path, source) == []
    assert overlong_parts(path, source) == []


@pytest.mark.parametrize(
    "path, source",
    [
        ("ernie_tiny/data/records.py", "from ernie_tiny.models.heads import build_head"),
        ("ernie_tiny/data/records.py", "def read():\n    from ..training import stage"),
        ("ernie_tiny/data/records.py", "from ernie_tiny import config"),
        ("ernie_tiny/data/__init__.py", "from ..models import heads"),
        ("ernie_tiny/data/records.py", "import paddle"),
        ("ernie_tiny/data/records.py", "class Reader:\n    from paddle import nn"),
        ("ernie_tiny/config/load.py", "def load():\n    import paddlenlp.utils"),
        ("ernie_tiny/kinds/reading.py", "from paddle import Tensor"),
        ("ernie_tiny/kinds/reading.py", "from ernie_tiny.evaluation.metrics import scorer"),
        ("ernie_tiny/data/records.py", "from ernie_tiny.kinds.registry import kind_named"),
        ("ernie_tiny/distill/losses.py", "import ernie_tiny.report.results"),
        ("ernie_tiny/runtime.py", "from ernie_tiny.config import load_config"),
        ("ernie_tiny/errors.py", "from ernie_tiny import runtime"),
        ("ernie_tiny/__init__.py", "from ernie_tiny.runtime import prepare"),
        ("ernie_tiny/training/stage.py", "from tools import train"),
    ],
)
def test_import_that_runs_upwards_or_sideways_is_found(path, source):
    assert len(forbidden_imports(Path(path), source)) == 1


@pytest.mark.parametrize(
    "path, source",
    [
        ("ernie_tiny/data/records.py", "from .task import TaskSpec\nfrom ernie_tiny.errors import InputError"),
        ("ernie_tiny/data/corpus.py", "def read():\n    from paddlenlp.data import indexed_dataset"),
        ("ernie_tiny/kinds/reading.py", "def table():\n    import paddle"),
        ("ernie_tiny/distill/objective.py", "from ..models.signals import Signals\nimport paddle"),
        ("ernie_tiny/runs/pipeline.py", "from ernie_tiny import __version__, runtime, serving"),
        ("tools/train.py", "from ernie_tiny.cli.command import run_command"),
        ("ernie_tiny/cli/train.py", "from ernie_tiny.runs.pipeline import run_pipeline"),
    ],
)
def test_import_from_the_own_package_or_a_lower_floor_is_allowed(path, source):
    assert forbidden_imports(Path(path), source) == []


def test_what_is_too_long_is_found():
    long_function = "def f():\n" + "    pass\n" * MAX_FUNCTION
    assert len(overlong_parts(Path("ernie_tiny/data/a.py"), long_function)) == 1
    assert len(overlong_parts(Path("tools/a.py"), "pass\n" * (MAX_TOOL + 1))) == 1
    assert len(overlong_parts(Path("ernie_tiny/cli/a.py"), "pass\n" * (MAX_COMMAND + 1))) == 1
    assert overlong_parts(Path("ernie_tiny/data/a.py"), "pass\n" * MAX_FILE) == []


def test_config_data_and_kinds_are_imported_without_paddle():
    files = [path for path in FILES if room_of_file(path) in WITHOUT_PADDLE and path.stem != "__init__"]
    files += [Path("ernie_tiny/kind_facts.py"), Path("ernie_tiny/models/forms.py")]
    modules = ", ".join(".".join(path.with_suffix("").parts) for path in files)
    script = f"import sys, {modules}; print(*(name for name in {PADDLE} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_the_package_offers_the_predictor_and_nothing_that_it_has_not():
    import ernie_tiny
    from ernie_tiny.serving.predictor import Predictor

    assert ernie_tiny.Predictor is Predictor
    with pytest.raises(AttributeError, match="module 'ernie_tiny' has no attribute 'Predictr'"):
        _ = ernie_tiny.Predictr

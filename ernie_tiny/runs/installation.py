"""What is wrong with an installation, in lines with remedies. Only the standard library is needed to find it."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ernie_tiny.errors import InputError
from ernie_tiny.runtime import check_installation, count_cores, version_of

OK, WARNING, FAULT = "ok", "warning", "fault"
SETUP = Path(__file__).resolve().parents[2] / "setup.py"  # of a source tree; an installed package has metadata
DISTRIBUTION = "ernie-tiny"
IMPORT_SECONDS = 120
# Versions known to break a run; any other version than setup.py's is one that nobody has tried.
BREAKS = {
    "protobuf": "VisualDL 2.5.3 fails at the first logged step with protobuf 7",
    "aistudio-sdk": "PaddleNLP imports aistudio_sdk.hub.download, which 0.3 removed",
    "datasets": "PaddleNLP imports it, and 4 and later ask for packages that the other pins exclude",
    "pyarrow": "26 and later ask for NumPy 2, which PaddleNLP does not allow",
    "numpy": "Paddle and PaddleNLP of these versions are built for NumPy 1",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ok, a warning (it runs, but look at it) or a fault (it will not run)."""

    state: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.state:<8} {self.what}" + (f"\n{'':8} -> {self.remedy}" if self.remedy else "")


def examine_installation() -> Iterator[Finding]:
    """Python, packages and their versions, Paddle's build and devices, threads, and known traps, in a few seconds."""
    yield _python()
    yield from _packages()
    yield from _datasets_folder()
    yield from _build()
    yield _threads()
    yield _imports()


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 9) <= sys.version_info[:2] <= (3, 12):
        return Finding(OK, f"Python {found}")
    return Finding(FAULT, f"Python {found}: 3.9 to 3.12 is needed", "make clean && make PYTHON=python3.11 test")


def _packages() -> Iterator[Finding]:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding(FAULT, "the package packaging is missing, and so are others", "pip install -e '.[cpu]'")
        return
    wrong, requirements = 0, requirements_of(SETUP)
    for requirement in map(Requirement, requirements):
        found = version_of(requirement.name)
        if found is not None and requirement.specifier.contains(found, prereleases=True):
            continue
        wrong += 1
        reason = BREAKS.get(requirement.name, "")
        state = WARNING if found is not None and not reason else FAULT
        what = f"{requirement.name} is {found or 'missing'}, setup.py asks for {requirement.specifier}"
        remedy = f"pip install '{requirement.name}{requirement.specifier}'"
        yield Finding(state, what + (f": {reason}" if reason and found else ""), remedy)
    if not wrong:
        yield Finding(OK, f"{len(requirements)} packages are of the versions that setup.py asks for")


def requirements_of(setup: Path) -> Sequence[str]:
    """What setup.py's INSTALL lists; without that file, what the installed package says of itself."""
    if setup.is_file():
        for node in ast.parse(setup.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INSTALL":
                return list(ast.literal_eval(node.value))
    return [line for line in metadata.requires(DISTRIBUTION) or () if "extra ==" not in line]


def _datasets_folder() -> Iterator[Finding]:
    """A folder named datasets before the package on the path is imported in its place, and PaddleNLP fails."""
    if version_of("datasets") is None:
        return
    spec = importlib.util.find_spec("datasets")
    expected = Path(str(metadata.distribution("datasets").locate_file("datasets"))).resolve()
    found = [Path(place).resolve() for place in (spec.submodule_search_locations or ()) if spec] if spec else []
    if expected not in found:
        where = ", ".join(map(str, found)) or "a module of that name"
        yield Finding(FAULT, f"{where} hides the package datasets, which PaddleNLP imports", "rename it")


def _build() -> Iterator[Finding]:
    try:
        installation = check_installation()
    except InputError as error:
        yield Finding(FAULT, str(error))
        return
    if installation.cuda and not installation.devices:
        yield Finding(
            WARNING,
            f"{installation}",
            "nvidia-smi has to list a GPU, and CUDA_VISIBLE_DEVICES, where set, to name one; on a machine without "
            "a GPU install paddlepaddle in place of paddlepaddle-gpu",
        )
    elif not installation.cuda and shutil.which("nvidia-smi"):
        yield Finding(WARNING, f"{installation}, on a machine with nvidia-smi", "for its GPU: see EXTRAS in setup.py")
    else:
        yield Finding(OK, str(installation))


def _threads() -> Finding:
    cores = count_cores()
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None and not (threads.isdigit() and 1 <= int(threads) <= cores):
        return Finding(
            WARNING,
            f"OMP_NUM_THREADS is {threads!r}, and this process may use {cores} cores",
            f"unset OMP_NUM_THREADS, or set it to 1 to {cores}; runtime.threads does so for one run",
        )
    if os.environ.get("FLAGS_use_stride_kernel", "0").lower() not in ("0", "false"):  # noqa: SIM112, Paddle's name
        return Finding(
            WARNING, "FLAGS_use_stride_kernel is on, which halves the speed on a CPU", "unset FLAGS_use_stride_kernel"
        )
    return Finding(OK, f"{threads or cores} threads on {cores} cores")


def _imports() -> Finding:
    """In a process of its own: a broken library may end a process without a word."""
    command = [sys.executable, "-c", "import paddlenlp.transformers, visualdl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding(
            FAULT,
            f"Paddle and PaddleNLP were not imported within {IMPORT_SECONDS} seconds",
            "look at the load of the machine, and at the speed of the disk that holds the packages",
        )
    if done.returncode == 0:
        return Finding(OK, "Paddle, PaddleNLP and VisualDL are imported")
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return Finding(
        FAULT,
        f"Paddle or PaddleNLP cannot be imported: {last}",
        "mend the packages named above; where none is, make clean and install anew",
    )

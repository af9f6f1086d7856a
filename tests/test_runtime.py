"""The installation check, threads and device, recorded versions, and the exit codes of tools."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Optional

import pytest

from ernie_tiny import runtime
from ernie_tiny.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def install(monkeypatch):
    """Makes the given packages, by name and version, the only ones that are installed."""

    def pretend(**packages: str) -> None:
        def version(name: str) -> str:
            if name.replace("-", "_") not in packages:
                raise metadata.PackageNotFoundError(name)
            return packages[name.replace("-", "_")]

        monkeypatch.setattr(metadata, "version", version)

    return pretend


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess:
    """The outcome of a script in a Python of its own, with what this process set for Paddle taken away."""
    inherited = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("FLAGS_", "PADDLE_", "OMP_", "GLOG_", "CUDA_"))
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT, env={**inherited, **environment}, capture_output=True, text=True,
    )  # fmt: skip


def test_cpu_build_is_described(install):
    install(paddlepaddle="3.3.1", paddlenlp="3.0.0b4", numpy="1.26.4")
    found = runtime.check_installation()
    assert (found.paddle, found.paddlenlp, found.numpy) == ("3.3.1", "3.0.0b4", "1.26.4")
    assert (found.cuda, found.devices) == (False, 0)
    assert "CPU build" in str(found)


@pytest.mark.parametrize(
    "packages, message",
    [
        ({"paddlenlp": "3.0.0b4"}, r"PaddlePaddle is not installed.*pip install -e '\.\[cpu\]'"),
        ({"paddlepaddle_gpu": "2.6.2", "paddlenlp": "3.0.0b4"}, r"paddlepaddle-gpu is 2\.6\.2.*Paddle's own"),
        ({"paddlepaddle": "2.6.2", "paddlenlp": "3.0.0b4"}, r"paddlepaddle is 2\.6\.2, but 3\.x"),
        ({"paddlepaddle": "3.3.1"}, r"paddlenlp is not installed\. Run: pip install"),
        ({"paddlepaddle": "3.3.1", "paddlenlp": "2.8.1"}, r"paddlenlp is 2\.8\.1, but 3\.x"),
    ],
)
def test_unsuitable_installation_says_what_to_do_in_one_line(install, packages, message):
    install(numpy="1.26.4", **packages)
    with pytest.raises(InputError, match=message) as error:
        runtime.check_installation()
    assert "\n" not in str(error.value)


def write_nvidia_smi(folder: Path, gpus: int) -> None:
    listing = "".join(f"echo 'GPU {index}: NVIDIA A100 (UUID: GPU-{index})'\n" for index in range(gpus))
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{listing}")
    command.chmod(0o755)


@pytest.mark.parametrize(
    "present, visible, devices",
    [(2, None, 2), (2, "1", 1), (2, "", 0), (2, "-1", 0), (1, "0,1", 1), (0, None, 0)],
)
def test_only_visible_gpus_are_counted(install, monkeypatch, tmp_path, present, visible, devices):
    install(paddlepaddle_gpu="3.3.1", paddlenlp="3.0.0b4", numpy="1.26.4")
    write_nvidia_smi(tmp_path, present)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = runtime.check_installation()
    assert (found.cuda, found.devices) == (True, devices)
    assert ("runs on the CPU" in str(found)) == (devices == 0)


PREPARE = """
    import os
    from ernie_tiny.runtime import prepare
    prepare({arguments})
    import paddle
    flags = paddle.get_flags(["FLAGS_use_stride_kernel", "FLAGS_eager_delete_tensor_gb"])
    print(os.environ["OMP_NUM_THREADS"], *flags.values(), paddle.get_device())
"""


def test_prepare_is_silent_and_takes_the_cores_of_a_cpu():
    done = run_python(PREPARE.format(arguments="'cpu'"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert (done.stdout.split(), done.stderr) == ([str(cores), "False", "0.002", "cpu"], "")


def test_an_export_of_a_bert_is_silent():
    start = "from ernie_tiny.runtime import prepare; prepare('cpu'); import paddle; paddle.enable_static()"
    assert run_python(f"{start}; paddle.ones_like(paddle.static.data('ids', [None, None], 'int64'))").stderr == ""


def test_prepare_keeps_what_the_user_set():
    own = {"OMP_NUM_THREADS": "3", "FLAGS_use_stride_kernel": "1", "FLAGS_eager_delete_tensor_gb": "-1.0"}
    done = run_python(PREPARE.format(arguments="'cpu'"), **own)
    assert done.stdout.split() == ["3", "True", "-1.0", "cpu"]


@pytest.fixture
def prepared(monkeypatch):
    """Runs prepare with the given arguments, changes undone afterwards, and gives OMP_NUM_THREADS."""
    flags = ("FLAGS_use_stride_kernel", "FLAGS_eager_delete_tensor_gb")
    for name in (*flags, "OMP_NUM_THREADS", "GLOG_minloglevel", "MKL_DEBUG_CPU_TYPE"):
        monkeypatch.setenv(name, "")  # so that the original comes back
        monkeypatch.delenv(name)

    def run(*arguments: object) -> str:
        runtime.prepare(*arguments)  # type: ignore[arg-type]
        return os.environ["OMP_NUM_THREADS"]

    yield run
    logging.getLogger("PaddleNLP").removeFilter(runtime._is_warning)


ZEN4 = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 fma avx512f avx512dq avx512bw avx512vl\nbugs\t\t: none\n"


@pytest.mark.parametrize(
    ("cpuinfo", "kernels"),
    [
        (ZEN4, "7"),
        (ZEN4.replace(" avx512bw", ""), "5"),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx\n", None),
        (ZEN4.replace("AuthenticAMD", "GenuineIntel"), None),
        ("", None),
    ],
)
def test_kernels_are_named_for_amd_alone(cpuinfo: str, kernels: Optional[str], prepared, monkeypatch):
    monkeypatch.setattr(runtime, "_read_cpu", lambda: cpuinfo)
    prepared("cpu")
    assert os.environ.get("MKL_DEBUG_CPU_TYPE") == kernels


def test_kernels_that_the_user_named_stay(prepared, monkeypatch):
    monkeypatch.setattr(runtime, "_read_cpu", lambda: ZEN4)
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "4")
    prepared("cpu")
    assert os.environ["MKL_DEBUG_CPU_TYPE"] == "4"


@pytest.mark.parametrize(
    ("environment", "calls"),
    [
        ({}, [(-4, 0), (-8, 1), (-1, -1)]),
        ({"MALLOC_TRIM_THRESHOLD_": "1"}, []),
        ({"GLIBC_TUNABLES": "x"}, []),
    ],
)
def test_freed_memory_is_kept_unless_the_user_set_malloc(environment, calls, prepared, monkeypatch):
    made: list[tuple[int, int]] = []
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda *call: made.append(call)))
    prepared("cpu")
    assert made == calls


def test_prepare_shares_the_cores_between_local_processes(prepared, monkeypatch):
    monkeypatch.setattr(runtime, "count_cores", lambda: 12)
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "4")
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "8")
    assert prepared("cpu") == "3"


def test_prepare_gives_every_process_a_thread(prepared, monkeypatch):
    monkeypatch.setattr(runtime, "count_cores", lambda: 2)
    monkeypatch.delenv("PADDLE_LOCAL_SIZE", raising=False)
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "8")
    assert prepared("cpu") == "1"


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("4,2", 4), ("many", None), ("", None), ("0", 0)])
def test_the_environment_may_ask_for_threads_of_several_levels(value: str, threads: Optional[int], monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert runtime.environment_threads() == threads


def test_prepare_takes_the_threads_it_is_given(prepared):
    assert prepared("cpu", 5) == "5"


@pytest.mark.parametrize("device", ["cuda", "gpu:", "gpu:x", "GPU"])
def test_prepare_refuses_an_unknown_device(prepared, device):
    with pytest.raises(InputError, match="valid are auto, cpu, gpu"):
        prepared(device)


def test_prepare_refuses_a_gpu_that_is_not_there(prepared):
    with pytest.raises(InputError, match="device is 'gpu:63', but Paddle sees"):
        prepared("gpu:63")


def test_prepare_tells_that_a_gpu_build_runs_on_the_cpu(prepared, install, monkeypatch, caplog):
    install(paddlepaddle_gpu="3.3.1", paddlenlp="3.0.0b4", numpy="1.26.4")
    monkeypatch.setattr(runtime, "_count_gpus", lambda: 0)
    prepared("auto")
    assert "no GPU found: runs on the CPU" in caplog.text


def test_versions_name_what_is_installed_only(install):
    install(paddlepaddle="3.3.1", numpy="1.26.4")
    python = sys.version.split()[0]
    assert runtime.versions() == {"python": python, "paddlepaddle": "3.3.1", "numpy": "1.26.4"}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(monkeypatch, tmp_path):
    """A repository with one commit, whose package folder runtime.py is taken to lie in."""
    package = tmp_path / "ernie_tiny"
    package.mkdir()
    (package / "runtime.py").write_text("first\n")
    monkeypatch.setattr(runtime, "__file__", str(package / "runtime.py"))
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_git_revision_is_the_commit_and_tells_a_changed_package(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert runtime.git_revision() == commit
    (checkout / "notes.txt").write_text("no part of the package\n")
    assert runtime.git_revision() == commit
    (checkout / "ernie_tiny/new.py").write_text("")
    assert runtime.git_revision() == commit + "+dirty"


def test_git_revision_is_none_for_an_installed_copy_and_outside_git(checkout, monkeypatch, tmp_path_factory):
    copy = checkout / ".venv/ernie_tiny"
    copy.mkdir(parents=True)
    shutil.copy(checkout / "ernie_tiny/runtime.py", copy)
    monkeypatch.setattr(runtime, "__file__", str(copy / "runtime.py"))
    assert runtime.git_revision() is None
    monkeypatch.setattr(runtime, "__file__", str(tmp_path_factory.mktemp("elsewhere") / "runtime.py"))
    assert runtime.git_revision() is None
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert runtime.git_revision() is None


RUN_TOOL = """
    from ernie_tiny.errors import InputError
    from ernie_tiny.runtime import run_tool
    def main():
        {body}
    run_tool(main)
"""


@pytest.mark.parametrize(
    "body, code, stderr",
    [
        ("pass", 0, ""),
        ("raise InputError('a.yaml: no key b')", 2, "error: a.yaml: no key b\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("raise SystemExit(7)", 7, ""),
    ],
)
def test_run_tool_gives_the_exit_code(body, code, stderr):
    done = run_python(RUN_TOOL.format(body=body))
    assert (done.returncode, done.stderr) == (code, stderr)


def test_run_tool_keeps_the_traceback_of_a_bug():
    done = run_python(RUN_TOOL.format(body="{}['missing']"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "KeyError: 'missing'" in done.stderr


@pytest.mark.parametrize("lines", [1, 100_000])  # fails when flushed at the end, and while main prints
def test_run_tool_is_quiet_when_its_reader_goes_away(lines):
    script = textwrap.dedent(RUN_TOOL.format(body=f"[print('line') for _ in range({lines})]"))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_speed_benchmark_runs():
    command = [sys.executable, "benchmarks/speed/distillation_step.py", "--steps", "1", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "step with log_softmax / step with relation_kl" in done.stdout

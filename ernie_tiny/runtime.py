"""What a run stands on: the installation, threads and device, and the frame of a command-line tool."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Callable, Optional, Union

from ernie_tiny.errors import InputError

PADDLE_BUILDS = ("paddlepaddle-gpu", "paddlepaddle")
RECORDED_PACKAGES = (
    *PADDLE_BUILDS,
    "paddlenlp",
    "numpy",
    "tokenizers",
    "onnxruntime",
    "openvino",
    "safetensors",
    "datasets",
    "pyarrow",
    "protobuf",
    "visualdl",
    "jieba",
    "pyyaml",
)
HARMLESS_WARNINGS = (
    *("No ccache found", "pkg_resources is deprecated", "Setuptools is replacing distutils"),
    "Tensor do not have 'place' interface",  # Paddle's of its own ones_like, in each export of a BERT
)

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
GARBAGE = "0.002"  # GB of dead tensors that Paddle Inference collects before a thread frees them

MISTAKEN_PATH = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP,
    errno.ENXIO,
)  # fmt: skip
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Installation:
    """The packages that a run needs, as installed.

    Attributes:
        python, paddle, paddlenlp, numpy: Versions.
        cuda: Whether this is Paddle's GPU build.
        devices: GPUs that the build can use; 0 for the CPU build.
    """

    python: str
    paddle: str
    paddlenlp: str
    numpy: str
    cuda: bool
    devices: int

    def __str__(self) -> str:
        gpus = f"{self.devices} GPUs" if self.devices else "no GPU found: runs on the CPU"
        build = f"GPU build, {gpus}" if self.cuda else "CPU build"
        libraries = f"PaddleNLP {self.paddlenlp}, NumPy {self.numpy}"
        return f"Python {self.python}, Paddle {self.paddle} ({build}), {libraries}"


def check_installation() -> Installation:
    """The installation, read from the packages' metadata; Paddle is not imported.

    Raises:
        InputError: Paddle or PaddleNLP is missing, or its version is not 3.x.
    """
    build = next((name for name in PADDLE_BUILDS if version_of(name)), None)
    if build is None:
        raise InputError("PaddlePaddle is not installed. Run: pip install -e '.[cpu]' (GPU: see setup.py).")
    paddle = _require_version_3(
        build, "PyPI's newest GPU build is 2.6.2: take 3.x from Paddle's own index, see setup.py."
    )
    paddlenlp = _require_version_3("paddlenlp", "Run: pip install -e '.[cpu]'.")
    cuda = build == "paddlepaddle-gpu"
    return Installation(
        python=platform.python_version(),
        paddle=paddle,
        paddlenlp=paddlenlp,
        numpy=version_of("numpy") or "missing",
        cuda=cuda,
        devices=_count_gpus() if cuda else 0,
    )


def prepare(device: str = "auto", threads: int = 0) -> None:
    """Imports Paddle, quietly, on the device and with the threads of this run; nobody may import it before.

    On a CPU it takes every core, shared between the processes of this machine, and turns the strided copy
    kernels off: without them dygraph is twice as fast there. Paddle Inference frees tensors some MB at a time: by
    default it wakes a thread for each, which takes a core from the products. On AMD's it names the kernels that
    Paddle's matrix products take, and the C library keeps freed memory for the next tensor. What the user set in the
    environment stays.

    Args:
        device: "auto" (a GPU if there is one), "cpu", "gpu" or "gpu:1".
        threads: CPU threads of this process; 0 for OMP_NUM_THREADS, or every core where that is unset.
    Raises:
        InputError: the installation is unsuitable, or has no such device.
    """
    installation = check_installation()
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", device):
        raise InputError(f"device is {device!r}; valid are auto, cpu, gpu and gpu:<number>.")
    if device == "cpu" or installation.devices == 0:
        os.environ.setdefault("FLAGS_use_stride_kernel", "0")
        os.environ.setdefault("FLAGS_eager_delete_tensor_gb", GARBAGE)
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, count_cores() // _count_local_processes())))
        kernels = mkl_kernels(_read_cpu())
        if kernels is not None:
            os.environ.setdefault("MKL_DEBUG_CPU_TYPE", kernels)
        _keep_freed_memory()
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("GLOG_minloglevel", "1")  # Paddle's own warnings and errors stay
    logging.getLogger("PaddleNLP").addFilter(_is_warning)
    for message in HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    paddle = _import_paddle()
    if device == "auto":
        if installation.cuda and not installation.devices:
            logger.warning("%s", installation)
        return
    gpus = paddle.device.cuda.device_count()
    if device != "cpu" and int(device.partition(":")[2] or 0) >= gpus:
        raise InputError(f"device is {device!r}, but Paddle sees {gpus} GPUs ({installation}). Use auto.")
    paddle.set_device(device)


def check_precision(device: str, precision: str) -> None:
    """Raises an InputError for a precision that takes a GPU where the run would be on a CPU; Paddle is not imported."""
    if precision == "float32" or device.startswith("gpu"):
        return
    if device == "cpu" or version_of("paddlepaddle-gpu") is None or not _count_gpus():
        here = "runtime.device = 'cpu'" if device == "cpu" else "this machine has no GPU that Paddle can use"
        raise InputError(
            f"runtime.precision = {precision!r} takes a GPU, and {here}. Set it to float32; to check a config for "
            "another machine, add -o runtime.device=gpu."
        )


def mkl_kernels(cpuinfo: str) -> Optional[str]:
    """The kernels of MKL-ML, which the CPU build of Paddle holds, for a CPU that it does not know: AMD's.

    Left to itself it takes its oldest ones there.

    Args:
        cpuinfo: The text of Linux's /proc/cpuinfo.
    Returns:
        The value of MKL_DEBUG_CPU_TYPE; None where MKL-ML is to choose.
    """
    if "AuthenticAMD" not in cpuinfo:
        return None
    flags = set(_cpu_line(cpuinfo, "flags").split())
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "7"
    return "5" if {"avx2", "fma"} <= flags else None


@dataclass(frozen=True)
class Processor:
    """The CPU of this machine.

    Attributes:
        name: As it calls itself.
        bfloat16: Whether it has instructions for products of bfloat16 (AVX512-BF16 or AMX); without them float32 is
            faster.
    """

    name: str
    bfloat16: bool


def processor() -> Processor:
    """The CPU of this machine, as Linux tells."""
    text = _read_cpu()
    flags = set(_cpu_line(text, "flags").split())
    return Processor(_cpu_line(text, "model name") or platform.processor(), bool(flags & {"avx512_bf16", "amx_bf16"}))


def _cpu_line(cpuinfo: str, key: str) -> str:
    found = re.search(rf"^{key}\s*:(.*)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on, as far as they are installed."""
    found = {name: version_of(name) for name in RECORDED_PACKAGES}
    return {"python": platform.python_version(), **{name: text for name, text in found.items() if text}}


def git_revision() -> Optional[str]:
    """The commit of this source tree, with "+dirty" where the package differs from it; None outside git."""
    package = Path(__file__).parent
    tracked = _git(package, "ls-files", Path(__file__).name)  # not so for a copy in another project's .venv
    revision = _git(package, "rev-parse", "--verify", "--quiet", "HEAD")
    if not (tracked and revision):
        return None
    return revision + ("+dirty" if _git(package, "status", "--porcelain", "--", ".") else "")


def run_tool(main: Callable[[], None]) -> None:
    """Runs a tool's main and gives the shell its exit code.

    An InputError is printed without a traceback and exits with 2, as do a full disk, a file that may not be
    read or written, and too little memory; Ctrl-C exits with 130, and a reader that went away (`| head`) with
    141, as if the signal had ended the program. Anything else is a bug and keeps its traceback.
    """
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again at exit
        sys.exit(141)
    except (OSError, MemoryError) as error:
        remedy = remedy_of(error)
        if remedy is None:
            raise
        print(f"error: {remedy}", file=sys.stderr)
        sys.exit(2)


def remedy_of(error: Union[OSError, MemoryError]) -> Optional[str]:
    """What the machine lacks and what to do about it; None for an error that is no fault of the machine."""
    if isinstance(error, MemoryError):  # Paddle's ResourceExhausted is one too, of a GPU's memory as well
        said = str(error).strip().partition("\n")[0] or "Python could allocate no more"
        return (
            f"out of memory ({said}). Lower optim.batch_size or optim.max_tokens of the stage and raise "
            "optim.accumulate as much, lower its data.max_length, or, if scores were being computed, "
            "report.batch_tokens. tools/doctor.py -c CONFIG estimates what each stage takes. Then run it again."
        )
    place = error.filename or "a file"
    if error.errno in FULL_DISK:
        return (
            f"{place}: {error.strerror}. Free some space there, or write elsewhere with -o output_dir=DIR. The same "
            "command continues from what is whole."
        )
    if error.errno in NOT_ALLOWED:
        return (
            f"{place}: {error.strerror}. Get the right to read or write it (ls -l shows who has it), or name another "
            "place: -o output_dir=DIR for results, -o data.root=DIR for data."
        )
    if error.errno in MISTAKEN_PATH and error.filename is not None:
        return f"{place}: {error.strerror}. Mend the path that the command line or the config gives, or what is there."
    return None


def version_of(package: str) -> Optional[str]:
    """The installed version of a package; None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _require_version_3(package: str, advice: str) -> str:
    found = version_of(package)
    if found is None:
        raise InputError(f"{package} is not installed. {advice}")
    if found.partition(".")[0] != "3":
        raise InputError(f"{package} is {found}, but 3.x is needed. {advice}")
    return found


def count_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment_threads() -> Optional[int]:
    """The threads that OMP_NUM_THREADS asks for, of those of nested levels the outermost; None without a number."""
    found = re.match(r"\s*(\d+)", os.environ.get("OMP_NUM_THREADS", ""))
    return int(found[1]) if found else None


def _read_cpu() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _keep_freed_memory() -> None:
    """Has glibc keep the memory of freed tensors: else each of some MB is new pages, cleared by the kernel."""
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # other C libraries have none
        mallopt(M_MMAP_MAX, 0)  # no block is mapped by itself: what is above 32 MB would be, and unmapped when freed
        mallopt(M_ARENA_MAX, 1)  # else each thread that answers keeps its own; with them a server grew for minutes
        mallopt(M_TRIM_THRESHOLD, -1)  # nothing of the heap's end goes back


def _count_local_processes() -> int:
    count = os.environ.get("PADDLE_LOCAL_SIZE") or os.environ.get("PADDLE_TRAINERS_NUM") or "1"
    return max(1, int(count))


def _count_gpus() -> int:
    if shutil.which("nvidia-smi") is None:
        return 0
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    present = len(re.findall(r"^GPU \d+:", listing, re.MULTILINE))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    return min(present, sum(name.strip() not in ("", "-1") for name in visible.split(",")))


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _import_paddle() -> ModuleType:
    """Paddle, without the lines it prints on OMP_NUM_THREADS: they warn of builds that are no longer made."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            import paddle
    finally:
        lines = said.getvalue().splitlines(keepends=True)
        sys.stderr.writelines(line for line in lines if "OMP_NUM_THREADS" not in line)
    return paddle


def _git(folder: Path, *arguments: str) -> str:
    if shutil.which("git") is None:
        return ""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

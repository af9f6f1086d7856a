"""The rows S of docs/errors.md: the installation, the machine, and what tools/doctor.py says of both."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paddle
import pytest

from ernie_tiny import runtime
from ernie_tiny.config import RunConfig, load_config
from ernie_tiny.data.download import Archive, fetch
from ernie_tiny.engines import Signature, load
from ernie_tiny.errors import InputError
from ernie_tiny.runs import doctor, installation
from ernie_tiny.runs.changes import write_config
from ernie_tiny.runs.doctor import disk_bytes, examine_run, stage_bytes
from ernie_tiny.runs.installation import FAULT, OK, WARNING, Finding, examine_installation, requirements_of
from ernie_tiny.runs.lock import run_lock
from ernie_tiny.training.flops import planned_shape
from tests.tools import ROOT, tool

PACKAGES = {"paddlepaddle": "3.3.1", "paddlenlp": "3.0.0b4", "numpy": "1.26.4"}


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Packages by name and version, which are all that is installed; nothing is imported in a process of its own."""
    found = {line.split("==")[0]: line.split("==")[1] for line in requirements_of(ROOT / "setup.py") if "==" in line}
    fake = SimpleNamespace(packages={**found, **PACKAGES}, process=subprocess.CompletedProcess("", 0, "", ""))
    real = metadata.version

    def version(name: str) -> str:
        if name in fake.packages:
            return fake.packages[name]
        if name.startswith("paddlepaddle"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: fake.process)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield fake


def findings(*states: str) -> str:
    return "\n".join(str(finding) for finding in examine_installation() if finding.state in states)


def test_a_good_installation(examined: SimpleNamespace) -> None:
    found = list(examine_installation())
    assert {finding.state for finding in found} == {OK}, found


def test_python(examined: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, says) -> None:
    monkeypatch.setattr(installation.sys, "version_info", (3, 8, 1))
    says("S1", findings(FAULT))


def test_packages(examined: SimpleNamespace, says) -> None:
    examined.packages["protobuf"] = "7.1.0"
    says("S4", findings(FAULT))
    examined.packages["paddlepaddle"] = "2.6.2"
    says("S3", findings(FAULT))
    del examined.packages["paddlepaddle"]
    says("S2", findings(FAULT))


def test_a_gpu_build_without_a_gpu(examined: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, says) -> None:
    examined.packages["paddlepaddle-gpu"] = "3.3.1"
    monkeypatch.setenv("PATH", "")
    says("S5", findings(WARNING))


def test_a_device_that_is_not_there(refuses) -> None:
    with refuses("S6"):
        runtime.prepare("gpu:1")


def test_threads(examined: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, says) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    says("S11", findings(WARNING))


def test_a_folder_that_hides_a_package(
    examined: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    says("S12", findings(FAULT))


def test_an_import_that_fails(examined: SimpleNamespace, says) -> None:
    examined.process = subprocess.CompletedProcess("", 1, "", "Traceback\nImportError: libcudnn.so.9 is missing")
    says("S14", findings(FAULT))
    assert "libcudnn.so.9 is missing" in findings(FAULT)


# ---- while a tool runs


def said(error: Exception, capsys: pytest.CaptureFixture) -> str:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as left:
        runtime.run_tool(main)
    assert left.value.code == 2
    return capsys.readouterr().err


def test_what_the_machine_lacks(capsys: pytest.CaptureFixture, says) -> None:
    says("S7", said(OSError(errno.EACCES, "Permission denied", "/srv/run/config.yaml"), capsys))
    says("S8", said(OSError(errno.ENOSPC, "No space left on device", "/srv/run/x"), capsys))
    says("S20", said(NotADirectoryError(errno.ENOTDIR, "Not a directory", "/srv/file/run"), capsys))
    with pytest.raises(MemoryError) as caught:
        paddle.empty([2**50])
    says("S9", said(caught.value, capsys))


def test_another_error_keeps_its_traceback() -> None:
    def main() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        runtime.run_tool(main)


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses) -> None:
    def no_network(*_arguments: object, **_options: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with refuses("S10"):
        fetch(Archive("tnews_public.zip", "https://example.invalid/tnews_public.zip"), tmp_path / "tnews_public.zip")


def test_a_folder_in_use(tmp_path: Path, says) -> None:
    with run_lock(tmp_path):
        with pytest.raises(InputError) as caught, run_lock(tmp_path):
            pass
        says("S16", caught.value)
    with run_lock(tmp_path):
        pass


# ---- a run on this machine

CONFIG = """\
name: toy
models: {student: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 64}}
data:
  tasks:
    mine: {kind: classification, texts: [text], labels: [a, b], max_length: 8, files: {train: [a.tsv], dev: [a.tsv]},
           file_format: tsv}
tokenizer: {vocab: VOCABULARY}
stages:
  - name: second
    train: student
    data: {tasks: [mine]}
    objective: {hard: {}}
    optim: {max_steps: 1, batch_size: 2}
    select: {every: 1}
"""


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n今\n天\n", encoding="utf-8")
    (tmp_path / "a.tsv").write_text("text\tlabel\n今天\ta\n天今\tb\n", encoding="utf-8")
    (tmp_path / "run.yaml").write_text(CONFIG.replace("VOCABULARY", str(tmp_path / "vocab.txt")), encoding="utf-8")
    return load_config(tmp_path / "run.yaml", [f"data.root={tmp_path}", f"output_dir={tmp_path}/run"])


def of_run(run: RunConfig, *states: str) -> str:
    return "\n".join(str(finding) for finding in examine_run(run) if finding.state in states)


def test_a_good_run(run: RunConfig) -> None:
    found = of_run(run, OK)
    for part in (
        "may be written",
        "memory: stage second",
        "model student: random weights",
        "mine: 2 train, 2 dev",
        "vocabulary: ",
        "7 tokens",
    ):
        assert part in found
    assert of_run(run, FAULT) == ""
    assert "2 of 2 dev examples" in of_run(run, WARNING)


def test_memory_and_disk(run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 1 kB\n", encoding="ascii")
    monkeypatch.setattr(doctor, "MEMORY_FILE", tmp_path / "meminfo")
    says("S13", of_run(run, WARNING))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1))
    says("S15", of_run(run, FAULT))


def test_an_output_folder_that_cannot_be_written(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    assert "cannot be written" in of_run(run, FAULT)


def test_a_folder_of_another_config_is_a_fault(run: RunConfig, tmp_path: Path) -> None:
    write_config(run, tmp_path / "run")
    (tmp_path / "run/stages").mkdir()
    changed = load_config(tmp_path / "run.yaml", [f"data.root={tmp_path}", f"output_dir={tmp_path}/run", "seed=7"])
    assert "holds a run with another config; different: seed." in of_run(changed, FAULT)
    assert of_run(run, FAULT) == ""


def test_the_doctor_names_faults_of_data_models_and_vocabulary(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\n今天\tc\n", encoding="utf-8")
    assert "a.tsv:2: mine has no label 'c'" in of_run(run, FAULT)
    (tmp_path / "a.tsv").write_text("text\tlabel\nhello\ta\n", encoding="utf-8")
    assert "100% of its tokens are unknown" in of_run(run, WARNING)
    (tmp_path / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    assert "lacks the special tokens" in of_run(run, FAULT)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text(
        '{"model_type": "ernie", "num_hidden_layers": 1, "hidden_size": 16, "vocab_size": 3, '
        '"num_attention_heads": 2, "intermediate_size": 8}'
    )
    pretrained = f"models.student={{pretrained: {tmp_path}/folder}}"
    changed = load_config(tmp_path / "run.yaml", [f"data.root={tmp_path}", pretrained])
    assert "holds none of model.safetensors, " in of_run(changed, FAULT)


@pytest.mark.parametrize("broken", ["task", "vocabulary"])
def test_the_doctor_lists_a_fault_that_all_else_stands_on(run: RunConfig, tmp_path: Path, broken: str) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}', encoding="utf-8")
    override = {"task": "stages.second.data.tasks=[tnewz]", "vocabulary": f"tokenizer.vocab={tmp_path}/tokenizer.json"}
    changed = load_config(tmp_path / "run.yaml", [f"data.root={tmp_path}", override[broken]])
    assert {"task": "no task 'tnewz'", "vocabulary": "tokenizer.json"}[broken] in of_run(changed, FAULT)


def test_the_estimate_of_memory_by_hand(run: RunConfig) -> None:
    # Two layers of 16 x 16 projections and 16 x 64 feed-forward: 3,280 weights each; embeddings 7 + 64 + 4 rows.
    weights = 2 * 3280 + (7 + 64 + 4) * 16 + 32 + 16 * 16 + 16
    kept = 4 * 2 * (34 * 16 + 5 * 2 * 8)  # bytes a token in two layers
    assert stage_bytes(run, run.stages[0]) == 0.55e9 + 16 * weights + 2 * 8 * kept


def test_the_estimate_of_the_disk_by_hand(run: RunConfig, tmp_path: Path) -> None:
    """Its checkpoints are those of the teacher, though a small student comes last."""
    teacher = "models.teacher={num_hidden_layers: 2, hidden_size: 160, num_attention_heads: 2}"
    rest = "data: {tasks: [mine]}, objective: {hard: {}}, optim: {max_steps: 1, batch_size: 2}"
    stage = f"{{name: first, train: teacher, {rest}}}"
    path = tmp_path / "two.yaml"
    path.write_text(
        CONFIG.replace("VOCABULARY", str(tmp_path / "vocab.txt")).replace("stages:\n", f"stages:\n  - {stage}\n"),
        encoding="utf-8",
    )
    two = load_config(path, [teacher, "runtime.keep_checkpoints=3"])
    small, large = (planned_shape(two, name).parameters for name in ("student", "teacher"))
    assert large > 20 * small
    assert disk_bytes(two) == 4 * (large + small) + 4 * 12 * large


def test_the_tool_leaves_with_the_count_of_faults(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").unlink()
    places = (f"data.root={tmp_path}", f"output_dir={tmp_path}/run")
    done = tool("doctor", "-c", str(tmp_path / "run.yaml"), "-o", *places, code=2)
    assert done.stdout.endswith("1 fault\n"), done.stdout + done.stderr
    assert "ok       Paddle, PaddleNLP and VisualDL are imported" in done.stdout
    assert "fault    task mine: " in done.stdout and "a.tsv: no such file" in done.stdout


def test_a_finding_is_a_line_with_its_remedy() -> None:
    assert str(Finding(OK, "all is well")) == "ok       all is well"
    assert str(Finding(WARNING, "hot", "cool it")) == "warning  hot\n         -> cool it"


def test_an_engine_without_a_gpu(tmp_path: Path, refuses: Any) -> None:
    with refuses("S21"):
        load(tmp_path, Signature({"logits": None}), "onnx", gpu=0)

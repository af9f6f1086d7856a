"""The rows F of docs/errors.md, and what no file of this project may do with a stranger's file."""

from __future__ import annotations

import ast
import dataclasses
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Optional

import paddle
import pytest

from ernie_tiny.data import download
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.corpus import CorpusStream
from ernie_tiny.data.download import unpack
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.files import require_whole, whole_folder, write_record
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.report.results import to_record
from ernie_tiny.runs.run_folders import read_results
from ernie_tiny.serving.export import export_model
from ernie_tiny.serving.predictor import Predictor
from tests.report.made_results import make

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for top in ("ernie_tiny", "tools") for path in (ROOT / top).rglob("*.py"))


def archive(folder: Path, *members: tuple[str, int]) -> Path:
    """A zip of members by name and mode of Unix."""
    path = folder / "archive.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, mode in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            file.writestr(member, "../../etc/passwd")
    return path


def refused(path: Path) -> InputError:
    target = path.parent / "unpacked" / "task"
    with pytest.raises(InputError) as caught:
        unpack(path, target)
    assert list(target.parent.iterdir()) == []
    return caught.value


@pytest.mark.parametrize("name", ["../../x", "/x", "a/../../x", "..\\x", "C:\\x", "a/..", "//x/y"])
def test_a_member_outside(name: str, tmp_path: Path) -> None:
    assert "would leave the folder" in str(refused(archive(tmp_path, ("a.json", 0), (name, 0))))


def test_a_member_that_leaves_its_folder(tmp_path: Path, says) -> None:
    says("F1", refused(archive(tmp_path, ("../../x", stat.S_IFREG | 0o644))))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices(kind: int, tmp_path: Path) -> None:
    assert "no plain file" in str(refused(archive(tmp_path, ("passwd", kind | 0o777))))


def test_a_link(tmp_path: Path, says) -> None:
    says("F2", refused(archive(tmp_path, ("passwd", stat.S_IFLNK | 0o777), ("passwd/x", 0))))


def test_a_damaged_archive(tmp_path: Path, says) -> None:
    path = archive(tmp_path, ("a.json", 0))
    path.write_bytes(path.read_bytes()[:-30])
    says("F3", refused(path))


@pytest.mark.parametrize("names", [("a", "a/b"), ("a" * 300,)], ids=["file and folder", "long"])
def test_names_that_cannot_be_written(names: tuple[str, ...], tmp_path: Path) -> None:
    assert "is damaged" in str(refused(archive(tmp_path, *((name, 0) for name in names))))


def test_a_large_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says) -> None:
    monkeypatch.setattr(download, "LARGEST", 20)
    says("F4", refused(archive(tmp_path, ("a.json", 0), ("b.json", 0))))


# ---- exports, runs, corpora


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec, tokenizer = find_task("afqmc"), Tokenizer([*SPECIAL_TOKENS, *"今天"])
    shape = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 7}
    model = MultiTaskModel(build_encoder("ernie", shape), [head_of(spec)])
    folder = tmp_path_factory.mktemp("exported")
    export_model(model, spec, tokenizer, 16, folder)
    return folder


@pytest.mark.parametrize(
    ("row", "name", "filled"),
    [
        ("F5", "task.json", None),
        ("F6", "model.pdiparams", b"\0"),
        ("F7", "task.json", b""),
        ("F39", "vocab.txt", b""),
        ("F41", "tokenizer_config.json", None),
    ],
)
def test_exports(row: str, name: str, filled: Optional[bytes], exported: Path, says) -> None:
    whole = (exported / name).read_bytes()
    (exported / name).unlink()
    if filled is not None:
        (exported / name).write_bytes(whole[:10] + filled * (len(whole) - 10))
    with pytest.raises(InputError) as caught:
        Predictor(exported)
    (exported / name).write_bytes(whole)
    says(row, caught.value)


def test_two_that_write_one_folder(tmp_path: Path, says) -> None:
    with whole_folder(tmp_path / "export") as first:
        (first / "a").write_text("first", encoding="utf-8")
        with pytest.raises(InputError) as caught, whole_folder(tmp_path / "export") as second:
            (second / "a").write_text("second", encoding="utf-8")
        says("F42", caught.value)
    assert (tmp_path / "export/a").read_text(encoding="utf-8") == "first"


def test_questions_that_are_none(exported: Path, says) -> None:
    predictor = Predictor(exported)
    predictor.spec = dataclasses.replace(predictor.spec, name="mine", texts=("a", "b"))
    for row, questions in (("D46", [("x",)]), ("D47", [{"a": "x"}]), ("D48", "今天")):
        with pytest.raises(InputError) as caught:
            predictor.predict(questions)
        says(row, caught.value)


def test_a_folder_without_a_run(tmp_path: Path, says) -> None:
    command = [sys.executable, "tools/evaluate.py", "--run", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    says("F8", done.stderr)


def test_a_folder_without_a_corpus(tmp_path: Path, says) -> None:
    with pytest.raises(InputError) as caught:
        CorpusStream(tmp_path, seed=0, batch_size=1, max_length=8, cls_id=2, sep_id=3)
    says("F10", caught.value)


def test_a_damaged_model(tmp_path: Path, says) -> None:
    with whole_folder(tmp_path / "model") as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(InputError) as caught:
        require_whole(tmp_path / "model", f"Remove {tmp_path}.")
    says("F12", caught.value)


def test_f85_results_of_another_form(tmp_path: Path, says) -> None:
    record = to_record(make())
    record["models"][0]["parameters"] = "many"
    write_record(tmp_path / "results.json", record)
    with pytest.raises(InputError) as caught:
        read_results(tmp_path)
    says("F13", caught.value)


# ---- what would run a stranger's code


def calls(tree: ast.AST) -> dict[str, ast.Call]:
    return {ast.unparse(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_what_it_reads(path: Path) -> None:
    found = calls(ast.parse(path.read_text(encoding="utf-8")))
    for name in ("pickle.load", "pickle.loads", "paddle.load", "torch.load", "eval", "exec", "yaml.unsafe_load"):
        assert name not in found, f"{path}: {name}"
    if "yaml.load" in found:
        assert [ast.unparse(keyword) for keyword in found["yaml.load"].keywords] == ["Loader=_Loader"]
    if "np.load" in found:
        assert not any(keyword.arg == "allow_pickle" for keyword in found["np.load"].keywords)


def test_the_loader_of_configs_is_a_safe_one() -> None:
    tree = ast.parse((ROOT / "ernie_tiny/config/load.py").read_text(encoding="utf-8"))
    (loader,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "_Loader")
    assert [ast.unparse(base) for base in loader.bases] == ["yaml.SafeLoader"]


def test_paddle_would_have_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the restricted reader the tests of the rows M6 and M22 would show nothing."""
    monkeypatch.chdir(tmp_path)
    Path("a.pdparams").write_bytes(b"cos\nsystem\n(X\x09\x00\x00\x00touch rantR.")
    paddle.load("a.pdparams")
    assert Path("ran").exists()

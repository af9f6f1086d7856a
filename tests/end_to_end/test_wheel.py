"""The wheel holds all that the program reads: it trains, exports, answers and reports where there is no checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD, BAD = "很好喜欢满意不错推荐", "太差失望退货难用糟糕"
CONFIG = """
name: elsewhere
output_dir: run
data:
  root: data
  tasks:
    shopping_10:  # a name that has a published score, which a page then shows beside ours
      kind: classification
      texts: [text]
      labels: ["0", "1"]
      file_format: tsv
      files: {train: [train.tsv], dev: [dev.tsv]}
      max_length: 16
tokenizer: {vocab: data/vocab.txt}
models:
  teacher: &shape {num_hidden_layers: 1, hidden_size: 32, num_attention_heads: 2, max_position_embeddings: 32,
                   hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}
  student: {<<: *shape, hidden_size: 16}
stages:
  - name: teach
    train: teacher
    data: {tasks: [shopping_10]}
    objective: {hard: {weight: 1.0}}
    optim: {learning_rate: 5.0e-3, epochs: 15, batch_size: 16}
  - name: distil
    train: student
    teacher: teacher@teach
    data: {tasks: [shopping_10]}
    objective: {hard: {weight: 1.0}, soft: {weight: 1.0, temperature: 2.0}}
    optim: {learning_rate: 5.0e-3, epochs: 15, batch_size: 16}
report: {teacher: teacher@teach, student: student@distil}
runtime: {threads: 1}
"""


@dataclass(frozen=True)
class Elsewhere:
    """A wheel's files and a folder to work in, neither of them in the checkout."""

    site: Path
    folder: Path

    def run(self, *command: str, text: str = "") -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.site)}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)} left with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ernie_tiny(self, *arguments: str, text: str = "") -> str:
        return self.run(str(self.site / "bin" / "ernie-tiny"), *arguments, text=text)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """The wheel, built of a copy of the sources and installed without the network, and a run of its program."""
    top = tmp_path_factory.mktemp("wheel")
    place = Elsewhere(top / "site", top / "work")
    (place.folder / "data").mkdir(parents=True)
    shutil.copytree(ROOT / "ernie_tiny", top / "sources" / "ernie_tiny")
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, top / "sources")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    offline = ("--no-index", "--no-deps")
    place.run(*pip, "wheel", *offline, "--no-build-isolation", "-w", str(top), str(top / "sources"))
    (wheel,) = top.glob("*.whl")
    shutil.rmtree(top / "sources")
    place.run(*pip, "install", *offline, "--target", str(place.site), str(wheel))

    reviews = [(number % 2, (BAD, GOOD)[number % 2][number % 3 :: 2]) for number in range(96)]
    for split, part in (("train", reviews[:64]), ("dev", reviews[64:])):
        lines = "".join(f"{label}\t{text}\n" for label, text in part)
        (place.folder / "data" / f"{split}.tsv").write_text(f"label\ttext\n{lines}", encoding="utf-8")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(GOOD + BAD)]
    (place.folder / "data" / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    (place.folder / "run.yaml").write_text(CONFIG, encoding="utf-8")
    place.ernie_tiny("train", "-c", "run.yaml")
    return place


def test_what_runs_is_what_the_wheel_installed(elsewhere: Elsewhere) -> None:
    printed = elsewhere.run(sys.executable, "-c", "import ernie_tiny; print(ernie_tiny.__file__)")
    assert Path(printed.strip()) == elsewhere.site / "ernie_tiny" / "__init__.py"
    assert not elsewhere.site.is_relative_to(ROOT) and not elsewhere.folder.is_relative_to(ROOT)


def test_it_exports_with_a_card_and_answers(elsewhere: Elsewhere) -> None:
    elsewhere.ernie_tiny("export", "--run", "run", "--model", "student@distil", "--task", "shopping_10")
    export = elsewhere.folder / "run" / "export" / "shopping_10"
    card = (export / "README.md").read_text(encoding="utf-8")
    assert "shopping_10" in card and "student@distil" in card

    lines = "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in (GOOD, BAD))
    answers = elsewhere.ernie_tiny("infer", "--model", str(export), text=lines).splitlines()
    assert [json.loads(line)["answer"] for line in answers] == ["1", "0"]


def test_its_pages_have_tables_and_charts(elsewhere: Elsewhere) -> None:
    elsewhere.ernie_tiny("report", "run", "--output", "page")
    for page in ("run/report.html", "page/report.html"):
        html = (elsewhere.folder / page).read_text(encoding="utf-8")
        assert all(part in html for part in ("<table", "<svg", "shopping_10", "Base-v2", "95.38"))
        assert html.count("<svg") >= 4 and html.count("<table") >= 4
    assert "| Base-v2" in (elsewhere.folder / "page" / "report.md").read_text(encoding="utf-8")

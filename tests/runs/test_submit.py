"""Models of a run folder and exported ones answering the leaderboard's test splits of the sample data set."""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.config.load import CONFIG_FILE, load_run
from ernie_tiny.data.clue import CLUE
from ernie_tiny.data.glue import GLUE
from ernie_tiny.errors import InputError
from ernie_tiny.files import whole_folder
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.leaderboard.check import check_submission
from ernie_tiny.leaderboard.clue import read_questions
from ernie_tiny.models.multitask import save_model
from ernie_tiny.runs.submit import submit
from ernie_tiny.serving.export import export_model
from ernie_tiny.training.workspace import Workspace
from tests.tools import tool

# cmnli learns from ocnli's rows; its labels stand in another order than in the task of that name.
CONFIG = """
name: toy
data:
  root: {root}
  corpora: {{general: {{files: [corpus/general.txt]}}}}
  tasks:
    cmnli:
      kind: pair
      texts: [sentence1, sentence2]
      labels: [entailment, neutral, contradiction]
      files: {{train: [clue/ocnli_public/train.50k.json]}}
tokenizer: {{build_from: general, vocab_size: 800}}
models:
  student: {{num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 128}}
stages:
  - name: finetune
    train: student
    per_task: true
    data: {{tasks: [tnews, cmnli, chid, c3, cmrc2018, cluener], max_length: 96}}
    objective: {{hard: {{}}}}
    optim: {{max_steps: 1, batch_size: 4}}
report: {{student: student@finetune}}
"""


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with random weights, and beside it `exported`, the same model for tnews."""
    folder = tmp_path_factory.mktemp("run")
    (folder / CONFIG_FILE).write_text(CONFIG.format(root=sample), encoding="utf-8")
    workspace = Workspace(load_run(folder))
    for task in workspace.run.stage("finetune").data.tasks:
        spec, model = workspace.task(task), workspace.model("student")
        model.add_head(head_of(spec))
        paddle.seed(0)
        for parameter in model.parameters():
            parameter.set_value(parameter + 0.2 * paddle.randn(parameter.shape))
        if task == "cmnli":
            bias = dict(model.heads.named_parameters())["cmnli.dense.bias"]
            bias.set_value(np.array([0, 100, 0], "float32"))
        with whole_folder(workspace.model_folder("student@finetune", task)) as target:
            save_model(model, target)
        if task == "tnews":
            with whole_folder(folder / "exported") as target:
                export_model(model, spec, workspace.tokenizer, 96, target)
    return folder


def contents(bundle: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def bundle(sample: Path, run: Path) -> Path:
    list(submit([run], sample, run / "submit.zip", "clue", ["test", "test1.0"]))
    return run / "submit.zip"


def test_what_the_run_answers_is_valid_and_complete(sample: Path, bundle: Path) -> None:
    checks = check_submission(bundle, sample)
    assert [check.name for check in checks] == [
        *("tnews11_predict.json", "tnews10_predict.json", "cmnli_predict.json", "cmrc2018_predict.json"),
        *("chid11_predict.json", "chid10_predict.json", "c311_predict.json", "c310_predict.json"),
        "cluener_predict.json",
    ]
    assert [(check.faults, check.warnings) for check in checks] == [([], [])] * 9


def test_labels_go_by_their_names(bundle: Path) -> None:
    labels = {json.loads(line)["label"] for line in contents(bundle)["cmnli_predict.json"].splitlines()}
    assert labels == {"neutral"}  # the second of the run's labels, the third of the task's


def test_no_candidate_is_given_to_two_blanks_of_a_group(sample: Path, bundle: Path) -> None:
    answers = json.loads(contents(bundle)["chid11_predict.json"])
    groups: dict[str, list[int]] = defaultdict(list)
    for example in read_questions(CLUE["chid"], sample, "test1.1"):
        groups[example.group].append(answers[example.id])
    assert max(map(len, groups.values())) > 1
    assert all(len(set(given)) == len(given) for given in groups.values())


def test_the_tool_says_what_it_leaves_out_and_an_exported_model_answers_alike(
    sample: Path, run: Path, bundle: Path, tmp_path: Path
) -> None:
    places = ("--models", str(run / "exported"), "--data", str(sample), "--output", str(tmp_path / "new/submit.zip"))
    done = tool("predict", *places, "--tasks", "tnews", "afqmc", "--threads", "1")
    assert f"tnews11_predict.json       100 examples answered by {run / 'exported'}\n" in done.stdout
    assert "afqmc_predict.json         left out: no model answers afqmc\n" in done.stdout
    name = "tnews11_predict.json"
    assert contents(tmp_path / "new" / "submit.zip") == {name: contents(bundle)[name]}


def test_a_test_file_that_is_absent_is_said(run: Path, tmp_path: Path, sample: Path) -> None:
    file = CLUE["tnews"].files["test"][0]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_bytes((sample / file).read_bytes())
    said = list(submit([run], tmp_path, tmp_path / "submit.zip", "clue", ["test", "test1.0"], ["tnews", "c3"]))
    assert [line.split()[0] for line in said if "left out" not in line] == ["tnews11_predict.json"]
    assert f"left out: {tmp_path / 'clue/c3_public/test1.1.json'} is not there" in "".join(said)
    assert list(contents(tmp_path / "submit.zip")) == ["tnews11_predict.json"]


@pytest.mark.parametrize(
    ("folders", "tasks", "reference", "message"),
    [
        (["", "exported"], None, None, "tnews is answered by student@finetune and by .*exported. Give one of them"),
        (["stages"], None, None, "stages: is neither a run's folder .it has no config.yaml. nor an exported"),
        ([""], ["tnew"], None, "--tasks tnew: is no task of the leaderboard. Did you mean 'tnews'"),
        ([""], ["afqmc"], None, "No test split can be answered, so nothing was written"),
        ([""], None, "student@tune", "student@tune: write model@stage; stages of this run: finetune"),
    ],
)
def test_what_is_refused(
    sample: Path, run: Path, tmp_path: Path, folders: list[str], tasks: list[str], reference: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        list(submit([run / name for name in folders], sample, tmp_path / "a.zip", tasks=tasks, reference=reference))
    assert not (tmp_path / "a.zip").exists()


def test_other_labels_than_the_board_has_are_refused_and_a_run_without_weights_too(
    sample: Path, tmp_path: Path
) -> None:
    text = CONFIG.format(root=sample)
    other = text.replace("[entailment, neutral, contradiction]", "[yes-1, no-1]")
    for config, message in (
        (other, r"student@finetune: answers cmnli with the labels \['yes-1', 'no-1'\], and the leaderboard has"),
        (text, "student@finetune: that stage is not finished"),
        (text.replace("report:", "export: {parity_examples: 1}\n#"), "names no report.student and no export.model"),
    ):
        (tmp_path / CONFIG_FILE).write_text(config, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            list(submit([tmp_path], sample, tmp_path / "a.zip"))


@pytest.fixture(scope="module")
def glue_run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with random weights for two tasks of GLUE; their test files, as the site has them, below data/."""
    folder = tmp_path_factory.mktemp("glue_run")
    (folder / "data/glue/MNLI").mkdir(parents=True)
    (folder / "data/glue/STS-B").mkdir()
    for kind, rows in (("matched", 3), ("mismatched", 2)):
        lines = ["index\tpairID\tsentence1\tsentence2", *(f"{row}\t{row}n\ta ship\t{row} ships" for row in range(rows))]
        (folder / f"data/glue/MNLI/test_{kind}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    similar = "index\tsentence1\tsentence2\n0\ta ship\tships\n"
    (folder / "data/glue/STS-B/test.tsv").write_text(similar, encoding="utf-8")
    text = CONFIG.format(root=sample).replace("[tnews, cmnli, chid, c3, cmrc2018, cluener]", "[mnli, stsb]")
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    workspace = Workspace(load_run(folder))
    for task in ("mnli", "stsb"):
        spec, model = workspace.task(task), workspace.model("student")
        model.add_head(head_of(spec))
        with whole_folder(workspace.model_folder("student@finetune", task)) as target:
            save_model(model, target)
    return folder


def test_glues_tables_are_written_for_every_test_split(glue_run: Path, tmp_path: Path) -> None:
    places = ("--models", str(glue_run), "--data", str(glue_run / "data"), "--output", str(tmp_path / "glue.zip"))
    done = tool("predict", *places, "--leaderboard", "glue", "--threads", "1")
    assert "MNLI-mm.tsv                2 examples answered by student@finetune\n" in done.stdout
    assert "RTE.tsv                    left out: no model answers rte\n" in done.stdout
    tables = contents(tmp_path / "glue.zip")
    assert {name: len(table.splitlines()) for name, table in tables.items()} == {
        "STS-B.tsv": 2,
        "MNLI-m.tsv": 4,
        "MNLI-mm.tsv": 3,
    }
    labels = {line.split("\t")[1] for line in tables["MNLI-m.tsv"].decode().splitlines()[1:]}
    assert labels <= set(GLUE["mnli"].labels)

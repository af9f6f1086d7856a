"""The program of deploy/cpp answers as Predictor does; it is built where Paddle Inference for C++ is at hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from ernie_tiny.batch import Array, Feature
from ernie_tiny.cli.command import main
from ernie_tiny.data.batching import collate
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import Prediction
from ernie_tiny.kinds.ask import decode, featurise, head_of
from ernie_tiny.kinds.read import read_inputs
from ernie_tiny.models.forms import FORMS
from ernie_tiny.serving.export import export_model
from ernie_tiny.serving.exported import load_form, read_spec
from ernie_tiny.serving.predictor import Predictor
from tests.serving.test_export import TEXT, TOKENIZER, build

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTION = "PADDLE_INFERENCE_DIR"  # an unpacked Paddle Inference for C++: paddle/include, paddle/lib
LENGTH = 24
CANDIDATES = ("很好", "去公园", "花", "看")
QUESTIONS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "tnews": [{"sentence": TEXT[: 3 + n]} for n in range(10)],
    "c3": [{"context": TEXT[n:], "question": "天气", "choice": CANDIDATES[: 2 + n % 3]} for n in range(10)],
    "cmrc2018": [{"context": TEXT[n:] * 3, "question": "天气"} for n in range(5)],  # several windows each
}
Line = dict[str, Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    found = {task: tmp_path_factory.mktemp(task) for task in QUESTIONS}
    for task, folder in found.items():
        export_model(build(task), find_task(task), TOKENIZER, LENGTH, folder)
        (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS[task])), encoding="utf-8")
    return found


@pytest.fixture(params=QUESTIONS)
def exported(request: pytest.FixtureRequest, folders: Mapping[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture
def tnews(folders: Mapping[str, Path]) -> Path:
    return folders["tnews"]


@pytest.fixture
def inputs(exported: Path, capsys: pytest.CaptureFixture[str]) -> list[Line]:
    """What tools/infer.py --token-ids prints of the questions."""
    main(["infer", "--model", str(exported), "--input", str(exported / "questions.jsonl"), "--token-ids"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(scope="module")
def infer(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Builds the program, and runs it on lines."""
    if not os.environ.get(DISTRIBUTION):
        pytest.skip(f"{DISTRIBUTION} names no Paddle Inference for C++")
    if not shutil.which("cmake") or not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("cmake and a C++ compiler are not both installed")
    built = str(tmp_path_factory.mktemp("build"))
    for arguments in (["-S", str(ROOT / "deploy/cpp"), "-B", built], ["--build", built]):
        done = subprocess.run(["cmake", *arguments], capture_output=True, text=True)
        assert done.returncode == 0 and "warning:" not in done.stderr, done.stdout + done.stderr

    def run(folder: Path, lines: Sequence[Any], *options: str) -> subprocess.CompletedProcess[str]:
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        command = [f"{built}/infer", str(folder), *options]
        return subprocess.run(command, input=text, capture_output=True, text=True)

    return run


def assert_answers_of_predictor(folder: Path, logits: Sequence[Array]) -> list[Prediction]:
    """Whether logits of the folder's questions, a feature after the other, give the answers and scores of Predictor."""
    spec = read_spec(folder)
    examples = read_inputs(spec, folder / "questions.jsonl")
    features = featurise(spec, examples, TOKENIZER, LENGTH)
    found, expected = decode(spec, examples, features, logits), Predictor(folder).predict(examples)
    assert [one.answer for one in found] == [one.answer for one in expected]
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    assert len({one.scores for one in expected}) > 1
    return expected


def test_token_ids_are_what_the_network_is_given(exported: Path, inputs: list[Line]) -> None:
    spec, network, logits = read_spec(exported), load_form(exported), []
    for line in inputs:
        sequences = zip(map(np.array, line["input_ids"]), map(np.array, line["token_type_ids"]))
        batch = collate([Feature(line["id"], tuple(sequences))], spec.name, TOKENIZER.pad_id)
        head = head_of(spec)
        logits += FORMS[head.form].cut(network(batch)["logits"], batch, head.outputs)
    assert_answers_of_predictor(exported, logits)


@pytest.mark.parametrize("batch", [1, 4])
def test_it_answers_as_predictor_does(exported: Path, inputs: list[Line], infer: Run, batch: int) -> None:
    done = infer(exported, inputs, "--batch", str(batch))
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [line["id"] for line in inputs]
    expected = assert_answers_of_predictor(exported, [np.array(answer["logits"]) for answer in answers])
    labels = [answer.get("label") for answer in answers]
    named = bool(read_spec(exported).labels)
    assert labels == ([one.answer for one in expected] if named else [None] * len(inputs))


def line_of(sequences: list[list[int]]) -> Line:
    return {"id": "first", "input_ids": sequences, "token_type_ids": [[0] * len(ids) for ids in sequences]}


def assert_refused(done: subprocess.CompletedProcess[str], said: str) -> None:
    last = done.stderr.splitlines()[-1]  # Paddle's protobuf may speak before
    assert done.returncode == 2 and last.startswith("error: ") and re.search(said, last), done.stderr


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])


def zeros(folder: Path, name: str) -> None:
    (folder / name).write_bytes(bytes((folder / name).stat().st_size))


def other(folder: Path, old: str, new: str) -> None:
    text = (folder / "task.json").read_text(encoding="utf-8")
    assert old in text
    (folder / "task.json").write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    "damage, arguments, said",
    [
        (without, ["task.json"], "task.json: no such file; .* is no folder that tools/export.py wrote"),
        (without, ["model.json"], "model.json: no such file"),
        (without, ["model.pdiparams"], "model.pdiparams: no such file"),
        (cut, ["task.json"], "task.json: is damaged.*Export the model anew"),
        (cut, ["model.json"], "model.json: is cut off or damaged: it has .* bytes, and"),
        (cut, ["model.pdiparams"], "model.pdiparams: is cut off or damaged: it has .* bytes, and"),
        (zeros, ["model.json"], "model.json or model.pdiparams: is damaged .*Copy the folder again"),
        (zeros, ["model.pdiparams"], "model.json or model.pdiparams: is damaged .*Copy the folder again"),
        (other, ['"form": "per row"', '"head": "row"'], "another version.*'form' not found"),
        (other, ["per row", "per word"], "another version.*form per word"),
        (other, ['"int64"', '"int32"'], "is not int64"),
        (other, ["token_type_ids", "types"], "has no input token_type_ids"),
        (other, ['"outputs": 15', '"outputs": 14'], "labels and outputs differ"),
        (other, ["per row", "per position"], "says other outputs than the network has"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    tnews: Path, infer: Run, tmp_path: Path, damage: Callable[..., None], arguments: list[str], said: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tnews, folder)
    damage(folder, *arguments)
    assert_refused(infer(folder, [line_of([[1, 5, 2]])]), said)


@pytest.mark.parametrize(
    "line, said",
    [
        ("{", "line 2: .*parse error.*--token-ids"),
        ({"id": "a"}, "line 2: .*'input_ids' not found"),
        ({"id": "a", "input_ids": [1, 5], "token_type_ids": [0, 0]}, "line 2: .*must be array"),
        ({"id": "a", "input_ids": [[1, 5.5]], "token_type_ids": [[0, 0]]}, "input_ids holds what is no whole number"),
        ({"id": "a", "input_ids": [[1, 5]], "token_type_ids": [[0]]}, "token_type_ids has another length"),
        ({"id": "a", "input_ids": [[1, 5]], "token_type_ids": []}, "another number of sequences"),
        ({"id": "a", "input_ids": [[1]] * 2, "token_type_ids": [[0]] * 2}, "2 sequences, where the task has one"),
        ({"id": "a", "input_ids": [[]], "token_type_ids": [[]]}, "a sequence of 0 tokens; the model takes 1 to 24"),
        ({"id": "a", "input_ids": [[1] * 25], "token_type_ids": [[0] * 25]}, "a sequence of 25 tokens"),
        (
            {"id": "a", "input_ids": [[1, 5000]], "token_type_ids": [[0, 0]]},
            "input_ids holds 5000; its numbers run from 0 to 20",
        ),
        ({"id": "a", "input_ids": [[1, -1]], "token_type_ids": [[0, 0]]}, "input_ids holds -1;"),
        ({"id": "a", "input_ids": [[1, 5]], "token_type_ids": [[0, 2]]}, "token_type_ids holds 2; .* from 0 to 1"),
    ],
)
def test_a_line_that_is_no_input_is_refused(tnews: Path, infer: Run, line: Any, said: str) -> None:
    done = infer(tnews, [line_of([[1, 5, 2]]), line])
    assert_refused(done, said)
    assert len(done.stdout.splitlines()) == 1  # the line before is answered


@pytest.mark.parametrize("options", [["--threads"], ["--batch", "0"], ["--threads", "many"], ["--gpu"], ["second"]])
def test_an_option_that_is_none_is_refused(tnews: Path, infer: Run, options: list[str]) -> None:
    assert_refused(infer(tnews, [], *options), "a number from 1 to 9999 was due|usage: infer DIR")

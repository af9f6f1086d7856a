"""GLUE and SQuAD from tiny files in their official layouts, and their metrics against scikit-learn and SciPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from ernie_tiny.data.glue import GLUE
from ernie_tiny.data.task import Answer, Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.metrics import scorer
from ernie_tiny.kinds.read import read_split

PARSES = ("binary_parse1", "binary_parse2", "parse1", "parse2")
MNLI_HEADER = (
    "index",
    "promptID",
    "pairID",
    "genre",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
    "sentence1",
    "sentence2",
)
STSB_HEADER = ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2")
PAIR = ('He said "no.', "She didn't.")  # half a pair of quotation marks is text

# Of each task the official columns of dev, one row's cells with the label last, and that row as an example.
LAYOUTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str]] = {
    "cola": ((), ("gj04", "LABEL", "*", 'The "ship sank.'), ('The "ship sank.',), "0"),
    "sst2": (("sentence", "label"), ('a "moving film ', "LABEL"), ('a "moving film ',), "0"),
    "mrpc": (("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String"), ("LABEL", "7", "8", *PAIR), PAIR, "0"),
    "stsb": ((*STSB_HEADER, "score"), ("0", "main", "MSR", "2012", "1", "none", "none", *PAIR, "LABEL"), PAIR, "0"),
    "qqp": (
        ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
        ("133", "1", "2", *PAIR, "LABEL"),
        PAIR,
        "133",
    ),
    "mnli": (
        (*MNLI_HEADER, "label1", "label2", "label3", "label4", "label5", "gold_label"),
        ("0", "1", "1n", "travel", *PARSES, *PAIR, *["neutral"] * 5, "LABEL"),
        PAIR,
        "0",
    ),
    "qnli": (("index", "question", "sentence", "label"), ("0", *PAIR, "LABEL"), PAIR, "0"),
    "rte": (("index", "sentence1", "sentence2", "label"), ("0", *PAIR, "LABEL"), PAIR, "0"),
}
# Columns of the test files, with a row.
TESTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cola": (("index", "sentence"), ("0", "A ship.")),
    "sst2": (("index", "sentence"), ("0", "a film")),
    "mrpc": (("index", "#1 ID", "#2 ID", "#1 String", "#2 String"), ("0", "7", "8", *PAIR)),
    "stsb": (STSB_HEADER, ("0", "main", "MSR", "2012", "1", "none", "none", *PAIR)),
    "qqp": (("id", "question1", "question2"), ("0", *PAIR)),
    "mnli": (MNLI_HEADER, ("0", "1", "1n", "travel", *PARSES, *PAIR)),
    "qnli": (("index", "question", "sentence"), ("0", *PAIR)),
    "rte": (("index", "sentence1", "sentence2"), ("0", *PAIR)),
}


def write(root: Path, spec: TaskSpec, split: str, *rows: tuple[str, ...]) -> None:
    (path,) = (root / file for file in spec.files[split])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in rows if row), encoding="utf-8")


def labelled(cells: tuple[str, ...], label: str) -> tuple[str, ...]:
    return tuple(label if cell == "LABEL" else cell for cell in cells)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_official_layout_of_dev(tmp_path: Path, name: str) -> None:
    header, cells, texts, example_id = LAYOUTS[name]
    spec = GLUE[name]
    label, value = ("3.800", 3.8) if name == "stsb" else (spec.labels[1], 1)
    write(tmp_path, spec, "dev", header, labelled(cells, label))
    assert read_split(spec, tmp_path, "dev").examples == (Example(example_id, texts, value),)


@pytest.mark.parametrize("name", TESTS)
def test_the_official_layout_of_test(tmp_path: Path, name: str) -> None:
    header, cells = TESTS[name]
    write(tmp_path, GLUE[name], "test", header, cells)
    (example,) = read_split(GLUE[name], tmp_path, "test").examples
    assert (example.id, example.label, len(example.texts)) == ("0", None, len(GLUE[name].texts))
    assert all(text in cells for text in example.texts)


def test_mnli_has_matched_and_mismatched_splits(tmp_path: Path) -> None:
    spec = GLUE["mnli"]
    files = [spec.files[split][0] for split in ("dev", "dev_mismatched", "test", "test_mismatched")]
    assert files == [f"glue/MNLI/{split}_{kind}.tsv" for split in ("dev", "test") for kind in ("matched", "mismatched")]
    header, cells, *_ = LAYOUTS["mnli"]
    write(tmp_path, spec, "dev_mismatched", header, labelled(cells, "-"), labelled(("1", *cells[1:]), "entailment"))
    split = read_split(spec, tmp_path, "dev_mismatched")
    assert ([example.label for example in split.examples], split.dropped) == ([1], 1)


def test_broken_rows_of_qqp_are_left_out_and_counted(tmp_path: Path) -> None:
    header, cells, *_ = LAYOUTS["qqp"]
    rows = [("1", "2", "3", "half a question"), ("and its end?", "0"), labelled(cells, "0"), ("9", *["x"] * 7)]
    write(tmp_path, GLUE["qqp"], "train", header, *rows)
    split = read_split(GLUE["qqp"], tmp_path, "train")
    assert ([example.id for example in split.examples], split.dropped) == (["133"], 3)


def test_a_broken_row_of_a_test_split_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, GLUE["qqp"], "test", TESTS["qqp"][0], ("0", "a question"))
    with pytest.raises(InputError, match=r"test\.tsv:2: has 2 columns, the header 3 \(id, question1"):
        read_split(GLUE["qqp"], tmp_path, "test")


@pytest.mark.parametrize("score_", ["", "five", "nan"])
def test_a_similarity_is_a_number(tmp_path: Path, score_: str) -> None:
    header, cells, *_ = LAYOUTS["stsb"]
    write(tmp_path, GLUE["stsb"], "dev", header, labelled(cells, score_))
    with pytest.raises(InputError, match=rf"dev\.tsv:2: 'score' is not a number: '{score_}'"):
        read_split(GLUE["stsb"], tmp_path, "dev")


def written_dev(root: Path, name: str, count: int = 60) -> tuple[tuple[Example, ...], list[str]]:
    """Examples of an official file with random labels, and random answers that are right more often than not."""
    random = np.random.default_rng(len(name))
    header, cells, _, example_id = LAYOUTS[name]
    spec = GLUE[name]
    names = [f"{value / 5:.3f}" for value in range(26)] if name == "stsb" else list(spec.labels)
    labels = [names[index] for index in random.integers(len(names), size=count)]
    rows = [labelled(cells, label) for label in labels]
    if cells[0] == example_id:
        rows = [(str(index), *row[1:]) for index, row in enumerate(rows)]
    write(root, spec, "dev", header, *rows)
    answers = [label if random.random() < 0.5 else str(random.choice(names)) for label in labels]
    return read_split(spec, root, "dev").examples, answers


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_official_metric_equals_scikit_learns_or_scipys(tmp_path: Path, name: str) -> None:
    spec = GLUE[name]
    examples, answers = written_dev(tmp_path, name)
    predictions = [Prediction(example.id, answer) for example, answer in zip(examples, answers)]
    found = scorer(spec, examples, predictions)(np.arange(len(examples)))
    truths = [example.label for example in examples]
    values = [float(answer) if name == "stsb" else spec.labels.index(answer) for answer in answers]
    expected = {
        "cola": {"accuracy": sklearn.accuracy_score, "matthews": sklearn.matthews_corrcoef},
        "mrpc": {"accuracy": sklearn.accuracy_score, "f1": sklearn.f1_score},
        "qqp": {"accuracy": sklearn.accuracy_score, "f1": sklearn.f1_score},
        "stsb": {"pearson": stats.pearsonr, "spearman": stats.spearmanr},
    }.get(name, {"accuracy": sklearn.accuracy_score})
    assert found == pytest.approx(
        {
            metric: 100 * np.ravel(compare(truths, values))[0]
            for metric, compare in expected.items()  # less the p-value
        }
    )
    assert spec.metric in found and 0 < found[spec.metric] < 100


def test_squad(tmp_path: Path) -> None:
    spec = GLUE["squad"]
    context = "The Denver Broncos won. The Broncos are from Denver."
    answers = [{"text": "Denver Broncos", "answer_start": 4}, {"text": "The Broncos", "answer_start": 24}]
    question = {"id": "56be", "question": "Who won?", "answers": answers}
    document = {"version": "1.1", "data": [{"title": "x", "paragraphs": [{"context": context, "qas": [question]}]}]}
    (tmp_path / "squad").mkdir()
    (tmp_path / spec.files["dev"][0]).write_text(json.dumps(document), encoding="utf-8")
    (example,) = read_split(spec, tmp_path, "dev").examples
    assert example == Example(
        "56be", ("Who won?", context), answers=(Answer("Denver Broncos", 4), Answer("The Broncos", 24))
    )
    right, half = (scorer(spec, [example], [Prediction("56be", said)]) for said in ("broncos!", "Denver"))
    assert right(np.array([0])) == {"exact_match": 100.0, "f1": 100.0}
    assert half(np.array([0]))["f1"] == pytest.approx(200 / 3)

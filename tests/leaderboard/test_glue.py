"""GLUE's tables as its site wants them, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ernie_tiny.data.glue import GLUE
from ernie_tiny.data.task import Prediction
from ernie_tiny.errors import InputError
from ernie_tiny.leaderboard.check import FileCheck, check_submission, missing_files
from ernie_tiny.leaderboard.clue import write_zip
from ernie_tiny.leaderboard.glue import write_glue_submission

TABLES = (
    *("CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv"),
    *("MNLI-m.tsv", "MNLI-mm.tsv", "QNLI.tsv", "RTE.tsv"),
)
LABELS = {
    "CoLA.tsv": ["0", "1"],
    "SST-2.tsv": ["0", "1"],
    "MRPC.tsv": ["0", "1"],
    "QQP.tsv": ["0", "1"],
    "STS-B.tsv": ["0.000000", "2.345679", "5.000000"],
    "MNLI-m.tsv": ["contradiction", "entailment", "neutral"],
    "MNLI-mm.tsv": ["contradiction", "entailment", "neutral"],
    "QNLI.tsv": ["entailment", "not_entailment"],
    "RTE.tsv": ["entailment", "not_entailment"],
}


def predictions(*answers: str) -> list[Prediction]:
    return [Prediction(str(index), answer) for index, answer in enumerate(answers)]


def all_predictions() -> dict[str, dict[str, list[Prediction]]]:
    """Each label of each task in turn; for STS-B a number below, within and above the range."""
    return {
        name: {split: predictions(*(task.labels or ("-0.25", "2.3456789", "5.5"))) for split in task.submission}
        for name, task in GLUE.items()
        if task.submission
    }


def tables_of(bundle: Path) -> dict[str, str]:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_zip_holds_the_official_tables_at_its_top(tmp_path: Path) -> None:
    write_glue_submission(all_predictions(), tmp_path / "new" / "submit.zip")
    tables = tables_of(tmp_path / "new" / "submit.zip")
    assert set(tables) == set(TABLES)
    for name, text in tables.items():
        rows = "".join(f"{index}\t{label}\n" for index, label in enumerate(LABELS[name]))
        assert text == f"index\tprediction\n{rows}"


def test_rows_are_in_the_order_of_their_indices(tmp_path: Path) -> None:
    answers = predictions(*["0"] * 11, "1")[::-1]
    write_glue_submission({"cola": {"test": answers}}, tmp_path / "submit.zip")
    lines = tables_of(tmp_path / "submit.zip")["CoLA.tsv"].splitlines()
    assert lines[1:] == [*(f"{index}\t0" for index in range(11)), "11\t1"]


@pytest.mark.parametrize(
    ("task", "split", "answers", "message"),
    [
        (
            "rte",
            "test",
            predictions("entailed"),
            "test: rte: example 0 is answered 'entailed'. Did you mean 'entailment'",
        ),
        ("rte", "test", predictions(*LABELS["RTE.tsv"])[1:], "of 1 predictions none has the index 0"),
        ("rte", "test", predictions("entailment") * 2, "of 2 predictions none has the index 1"),
    ],
)
def test_what_is_no_submission(tmp_path: Path, task: str, split: str, answers: list[Prediction], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_glue_submission({task: {split: answers}}, tmp_path / "submit.zip")
    assert not (tmp_path / "submit.zip").exists()


# What is wrong with a bundle.

RTE = "index\tprediction\n0\tentailment\n1\tnot_entailment\n2\tentailment\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with three rows of RTE's and of STS-B's test file."""
    for folder in ("RTE", "STS-B"):
        file = tmp_path / "data/glue" / folder / "test.tsv"
        file.parent.mkdir(parents=True)
        rows = [f"{index}\tA plane takes off.\tIt is quiet {index}." for index in range(3)]
        file.write_text("\n".join(["index\tsentence1\tsentence2", *rows, ""]), encoding="utf-8")
    return tmp_path / "data"


def checked(root: Path, **files: str) -> list[FileCheck]:
    """The checks of a bundle of tables, whose names are given with _ for - and without .tsv."""
    bundle = root / "submit.zip"
    write_zip({f"{name.replace('_', '-')}.tsv": text for name, text in files.items()}, bundle)
    return check_submission(bundle, root)


def test_a_written_bundle_is_valid(root: Path) -> None:
    answers = {"rte": {"test": predictions(*LABELS["RTE.tsv"], "entailment")}}
    answers["stsb"] = {"test": predictions("-0.25", "2.3456789", "5.5")}
    write_glue_submission(answers, root / "submit.zip")
    checks = check_submission(root / "submit.zip", root)
    assert [(check.name, check.checked, check.faults, check.warnings) for check in checks] == [
        ("RTE.tsv", "3 rows", [], []),
        ("STS-B.tsv", "3 rows", [], []),
    ]
    assert missing_files(checks) == [
        *(name for name in TABLES if name not in ("RTE.tsv", "STS-B.tsv")),
        "WNLI.tsv",
        "AX.tsv",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            RTE.partition("\n")[2],
            'line 1: holds ["0", "entailment"], and must hold ["index", "prediction"], with a tab',
        ),
        (RTE.replace("1\tnot", "1 not"), 'line 3: holds ["1 not_entailment"], and no whole number, a tab and a'),
        (RTE.replace("1\tnot", "one\tnot"), 'line 3: holds ["one", "not_entailment"], and no whole number'),
        (RTE.replace("1\tnot", "1\t\tnot"), 'line 3: holds ["1", "", "not_entailment"], and no whole number'),
        (RTE.replace("0\tent", "1\tent"), "line 3: the id 1 stands already at line 2."),
        (RTE.replace("2\tent", "3\tent"), "line 4: the id 3 is one too many: it is not in the test file."),
        (RTE.replace("2\tentailment\n", ""), "has no answer to 1 of 3 ids of the test file: 2."),
        (RTE.replace("not_entailment", "contradiction"), 'line 3: rte has no label "contradiction"'),
        (RTE.replace("\n", "\r\n"), 'line 2: rte has no label "entailment\\r"'),
    ],
)
def test_a_fault_in_a_table_is_named(root: Path, text: str, said: str) -> None:
    (check,) = checked(root, RTE=text)
    assert any(fault.startswith(said) for fault in check.faults), check.faults


def test_a_table_that_is_not_utf_8_is_named(root: Path) -> None:
    with zipfile.ZipFile(root / "submit.zip", "w") as archive:
        archive.writestr("RTE.tsv", RTE.encode() + b"3\t\xff\n")
    (check,) = check_submission(root / "submit.zip", root)
    assert check.faults == ["line 5: is not UTF-8 (invalid start byte: byte 0xff)."]


def test_scores_are_numbers_and_those_that_nobody_gave_a_warning(root: Path) -> None:
    table = "index\tprediction\n0\t{}\n1\t1e0\n2\t5\n"
    assert checked(root, STS_B=table.format("0.5"))[0].warnings == []
    assert checked(root, STS_B=table.format("5.5"))[0].warnings == [
        "has scores outside of 0 to 5, within which people gave theirs."
    ]
    for wrong in ("high", "nan", ""):
        assert checked(root, STS_B=table.format(wrong))[0].faults == [
            f'line 2: the answer is "{wrong}", and must be a number.'
        ]


def test_another_order_and_tables_that_are_no_tasks_here_are_warnings(root: Path) -> None:
    lines = RTE.splitlines(keepends=True)
    rte, wnli = checked(root, RTE="".join([lines[0], *lines[:0:-1]]), WNLI="index\tprediction\n")
    assert rte.faults == wnli.faults == []
    assert rte.warnings == ["line 2: the id 2 stands where the test file has 0: the order is another."]
    assert wnli.warnings == ["is of a task that is not known here, and was not looked at."]


def test_a_table_without_its_test_file_or_of_no_name_is_not_valid(root: Path) -> None:
    cola, rte = checked(root, CoLA="index\tprediction\n0\t1\n", Rte=RTE)
    assert cola.faults[0].startswith("cannot be compared with the test file") and "CoLA" in cola.faults[0]
    assert rte.faults[0].startswith("is no file that the site knows. Did you mean 'RTE.tsv'")

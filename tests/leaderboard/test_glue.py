"""GLUE's tables as its site wants them, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from ernie_tiny.data.glue import GLUE
from ernie_tiny.data.task import Prediction
from ernie_tiny.errors import InputError
from ernie_tiny.leaderboard.glue import write_glue_submission, write_squad_predictions

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
        ("tnews", "test", predictions("0"), "'tnews' is no task of GLUE's site"),
        ("squad", "dev", predictions("x"), "'squad' is no task of GLUE's site"),
        ("mnli", "test_matched", predictions("neutral"), "mnli has no test split 'test_matched'. Did you mean"),
        ("rte", "test", predictions("entailed"), "rte, test: row 0 is answered 'entailed'. Did you mean 'entailment'"),
        ("rte", "test", predictions(*LABELS["RTE.tsv"])[1:], "of 1 predictions none has the index 0"),
        ("rte", "test", predictions("entailment") * 2, "of 2 predictions none has the index 1"),
    ],
)
def test_what_is_no_submission(tmp_path: Path, task: str, split: str, answers: list[Prediction], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_glue_submission({task: {split: answers}}, tmp_path / "submit.zip")
    assert not (tmp_path / "submit.zip").exists()


def test_squad_predictions_are_one_object_by_question(tmp_path: Path) -> None:
    write_squad_predictions([Prediction("56be", "Café"), Prediction("57aa", "")], tmp_path / "new" / "predictions.json")
    text = (tmp_path / "new" / "predictions.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"56be": "Café", "57aa": ""}

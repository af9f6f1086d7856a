"""Eight tasks of GLUE and SQuAD 1.1 as values.

Files lie below the data root as the official archives unpack: `glue/<folder>/<split>.tsv`, `squad/<file>.json`.
Label order is PaddleNLP's. MNLI's dev and test are the matched ones; the mismatched ones are splits beside them.
GLUE's own score averages F1 with accuracy (MRPC, QQP) and Pearson's with Spearman's correlation (STS-B): both
are reported, the first selects.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ernie_tiny.data.task import TaskSpec

ENTAILMENT = ("entailment", "not_entailment")
COLA_COLUMNS = ("source", "label", "mark", "sentence")  # of train and dev; the test file has a header row


def _files(folder: str, **files: str) -> dict[str, tuple[str, ...]]:
    names = {"train": "train", "dev": "dev", "test": "test", **files}
    return {split: (f"glue/{folder}/{name}.tsv",) for split, name in names.items()}


COLA = TaskSpec(
    name="cola",
    kind="classification",
    texts=("sentence",),
    labels=("0", "1"),
    id_field="index",
    file_format="tsv",
    columns={"train": COLA_COLUMNS, "dev": COLA_COLUMNS},
    metric="matthews",
    files=_files("CoLA"),
    submission={"test": "CoLA.tsv"},
)

SST2 = TaskSpec(
    name="sst2",
    kind="classification",
    texts=("sentence",),
    labels=("0", "1"),
    id_field="index",
    file_format="tsv",
    files=_files("SST-2"),
    submission={"test": "SST-2.tsv"},
)

MRPC = TaskSpec(
    name="mrpc",
    kind="pair",
    texts=("#1 String", "#2 String"),
    labels=("0", "1"),
    label_field="Quality",
    id_field="index",
    file_format="tsv",
    metric="f1",
    files=_files("MRPC"),
    submission={"test": "MRPC.tsv"},
)

STSB = TaskSpec(
    name="stsb",
    kind="regression",
    texts=("sentence1", "sentence2"),
    label_field="score",
    id_field="index",
    file_format="tsv",
    metric="pearson",
    files=_files("STS-B"),
    submission={"test": "STS-B.tsv"},
)

QQP = TaskSpec(
    name="qqp",
    kind="pair",
    texts=("question1", "question2"),
    labels=("0", "1"),
    label_field="is_duplicate",
    file_format="tsv",
    drop_broken_rows=True,  # a line feed within a question breaks its row
    metric="f1",
    files=_files("QQP"),
    submission={"test": "QQP.tsv"},
)

MNLI = TaskSpec(
    name="mnli",
    kind="pair",
    texts=("sentence1", "sentence2"),
    labels=("contradiction", "entailment", "neutral"),
    label_field="gold_label",
    id_field="index",
    drop_labels=("-",),
    file_format="tsv",
    files=_files(
        "MNLI",
        dev="dev_matched",
        dev_mismatched="dev_mismatched",
        test="test_matched",
        test_mismatched="test_mismatched",
    ),
    submission={"test": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"},
)

QNLI = TaskSpec(
    name="qnli",
    kind="pair",
    texts=("question", "sentence"),
    labels=ENTAILMENT,
    id_field="index",
    file_format="tsv",
    files=_files("QNLI"),
    submission={"test": "QNLI.tsv"},
)

RTE = TaskSpec(
    name="rte",
    kind="pair",
    texts=("sentence1", "sentence2"),
    labels=ENTAILMENT,
    id_field="index",
    file_format="tsv",
    files=_files("RTE"),
    submission={"test": "RTE.tsv"},
)

SQUAD = TaskSpec(
    name="squad",
    kind="reading",
    file_format="json",
    metric="f1",
    scorer="squad",
    max_length=384,
    files={"train": ("squad/train-v1.1.json",), "dev": ("squad/dev-v1.1.json",)},
)

GLUE: Mapping[str, TaskSpec] = MappingProxyType(
    {task.name: task for task in (COLA, SST2, MRPC, STSB, QQP, MNLI, QNLI, RTE, SQUAD)}
)

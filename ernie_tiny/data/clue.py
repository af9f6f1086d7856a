"""The ten tasks of CLUE as values, and the lookup of a task by name.

Files lie below the data root as CLUE's official archives unpack: `clue/<task>_public/<file>`. Label order and lengths
are those of PaddleNLP's CLUE benchmark; submission names are those of the CLUE 1.1 leaderboard, and of 1.0 for the
`test1.0` splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ernie_tiny.data.fewclue import FEWCLUE
from ernie_tiny.data.glue import GLUE
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError, offer


def _files(task: str, *splits: str) -> dict[str, tuple[str, ...]]:
    return {split: (f"clue/{task}_public/{split}.json",) for split in splits}


AFQMC = TaskSpec(
    name="afqmc",
    kind="pair",
    texts=("sentence1", "sentence2"),
    labels=("0", "1"),
    files=_files("afqmc", "train", "dev", "test"),
    submission={"test": "afqmc_predict.json"},
)

TNEWS = TaskSpec(
    name="tnews",
    kind="classification",
    texts=("sentence",),
    labels=("100", "101", "102", "103", "104", "106", "107", "108", "109", "110", "112", "113", "114", "115", "116"),
    files=_files("tnews", "train", "dev", "test", "test1.0"),
    submission={"test": "tnews11_predict.json", "test1.0": "tnews10_predict.json"},
)

IFLYTEK = TaskSpec(
    name="iflytek",
    kind="classification",
    texts=("sentence",),
    labels=tuple(str(label) for label in range(119)),
    files=_files("iflytek", "train", "dev", "test"),
    submission={"test": "iflytek_predict.json"},
)

CMNLI = TaskSpec(
    name="cmnli",
    kind="pair",
    texts=("sentence1", "sentence2"),
    labels=("contradiction", "entailment", "neutral"),
    drop_labels=("-",),
    files=_files("cmnli", "train", "dev", "test"),
    submission={"test": "cmnli_predict.json"},
)

OCNLI = TaskSpec(
    name="ocnli",
    kind="pair",
    texts=("sentence1", "sentence2"),
    labels=("entailment", "contradiction", "neutral"),
    drop_labels=("-",),
    files={"train": ("clue/ocnli_public/train.50k.json",), **_files("ocnli", "dev", "test")},
    submission={"test": "ocnli_50k_predict.json"},
)

CLUEWSC2020 = TaskSpec(
    name="cluewsc2020",
    kind="coreference",
    texts=("text",),
    labels=("true", "false"),
    files=_files("cluewsc2020", "train", "dev", "test", "test1.0"),
    submission={"test": "cluewsc11_predict.json", "test1.0": "cluewsc10_predict.json"},
)

CSL = TaskSpec(
    name="csl",
    kind="keywords",
    texts=("keyword", "abst"),
    labels=("0", "1"),
    max_length=256,
    files=_files("csl", "train", "dev", "test"),
    submission={"test": "csl_predict.json"},
)

CMRC2018 = TaskSpec(
    name="cmrc2018",
    kind="reading",
    file_format="json",
    metric="exact_match",
    max_length=512,
    files=_files("cmrc2018", "train", "dev", "test", "trial"),
    submission={"test": "cmrc2018_predict.json"},
)

CHID = TaskSpec(
    name="chid",
    kind="cloze",
    max_length=64,
    files={
        "train": ("clue/chid_public/train.json", "clue/chid_public/train_answer.json"),
        "dev": ("clue/chid_public/dev.json", "clue/chid_public/dev_answer.json"),
        **_files("chid", "test1.0", "test1.1"),
    },
    submission={"test1.1": "chid11_predict.json", "test1.0": "chid10_predict.json"},
)

C3 = TaskSpec(
    name="c3",
    kind="multiple_choice",
    file_format="json",
    max_length=512,
    files={
        "train": ("clue/c3_public/m-train.json", "clue/c3_public/d-train.json"),
        "dev": ("clue/c3_public/m-dev.json", "clue/c3_public/d-dev.json"),
        **_files("c3", "test1.0", "test1.1"),
    },
    submission={"test1.1": "c311_predict.json", "test1.0": "c310_predict.json"},
)

CLUE: Mapping[str, TaskSpec] = MappingProxyType(
    {task.name: task for task in (AFQMC, TNEWS, IFLYTEK, CMNLI, OCNLI, CLUEWSC2020, CSL, CMRC2018, CHID, C3)}
)


# Not one of the ten, and not in the leaderboard's average, but scored there.
CLUENER = TaskSpec(
    name="cluener",
    kind="labelling",
    labels=(
        *("address", "book", "company", "game", "government"),
        *("movie", "name", "organization", "position", "scene"),
    ),
    files=_files("cluener", "train", "dev", "test"),
    submission={"test": "cluener_predict.json"},
)
SUBMITTED: Mapping[str, TaskSpec] = MappingProxyType({**CLUE, CLUENER.name: CLUENER})


def find_task(name: str, custom: Mapping[str, TaskSpec] = MappingProxyType({})) -> TaskSpec:
    """The task of this name: the user's own (`custom`) before those of CLUE (CLUENER too), FewCLUE and GLUE.

    Raises:
        InputError: There is no such task; names the nearest one, or all of them.
    """
    known = {**SUBMITTED, **FEWCLUE, **GLUE, **custom}
    if name in known:
        return known[name]
    raise InputError(f"There is no task {name!r}. {offer(name, known)} Your own tasks stand under data.tasks.")

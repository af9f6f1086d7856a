"""The methods at a tiny size, run through the tools as a user would."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.forks import SEPARATOR
from tests.tools import ROOT

SMALL = (
    "runtime.threads=1",
    "runtime.save_steps=2",
    "data.sample=true",
    "data.corpora.general.files=[corpus/general.txt]",
    "tokenizer.vocab_size=900",
    "models.teacher.num_hidden_layers=2",
    "models.teacher.hidden_size=48",
    "models.student.hidden_size=24",
    "models.student.hidden_dropout_prob=0.1",
    "stages.pretrain.optim={max_steps: 4, batch_size: 4}",
    "report.examples=40",
)


@dataclass(frozen=True)
class Method:
    """A config and the overrides that make it small."""

    config: str
    overrides: tuple[str, ...]

    def arguments(self, folder: Path, *overrides: str) -> list[str]:
        """Arguments of tools/train.py for a run in a folder; its data lies beside it."""
        places = [f"output_dir={folder}", f"data.root={folder.parent / 'data'}"]
        return ["-c", str(ROOT / self.config), "-o", *SMALL, *self.overrides, *places, *overrides]


METHODS = {
    "mitkd": Method(
        "configs/quickstart.yaml",
        (
            "runtime.teacher_engine=paddle",
            "stages.enhance.optim={max_steps: 12, max_tokens: 1024}",
            "stages.enhance.data.examples=24",
            "stages.distil.optim={max_steps: 6, batch_size: 4}",
            "stages.finetune.optim={epochs: 1, batch_size: 8}",
            "stages.finetune.data.examples=48",
            "stages.finetune.task_settings={}",
            "stages.finetune.select={every: 3, examples: 32}",
            "stages.scratch.optim={epochs: 1, batch_size: 8}",
            "stages.scratch.data.examples=48",
            "stages.scratch.task_settings={}",
        ),
    ),
    "progressive": Method(
        "configs/smoke/progressive_clue.yaml",
        (
            "runtime.teacher_engine=paddle",
            "export.model=null",
            "stages.finetune-teacher.data.examples=24",
            "stages.finetune-teacher.optim={epochs: 1, batch_size: 8}",
            "stages.GD.optim={max_steps: 3, batch_size: 4}",
            "stages.GED.optim={max_steps: 3, batch_size: 4}",
            "stages.TAD.data.examples=24",
            "stages.TAD.optim={epochs: 1, batch_size: 8}",
            "stages.TSD.data.examples=32",
            "stages.TSD.optim={epochs: 1, batch_size: 8}",
            "stages.TSD.select={every: 2, examples: 32}",
            "stages.scratch.data.examples=24",
            "stages.scratch.optim={epochs: 1, batch_size: 8}",
        ),
    ),
    "mkd": Method(
        "configs/smoke/mkd_bilstm_clue.yaml",
        (
            "export.model=null",
            "models.student.embedding_size=16",
            "stages.refine.data.examples=64",
            "stages.refine.optim={max_steps: 6, batch_size: 8}",
            "stages.distil.data.examples=64",
            "stages.distil.optim={max_steps: 6, batch_size: 8}",
            "stages.distil.select={every: 2, examples: 32}",
            "stages.scratch.data.examples=64",
            "stages.scratch.optim={max_steps: 4, batch_size: 8}",
        ),
    ),
}


@dataclass(frozen=True)
class Trouble:
    """What ends a process early, and what is to be said of it.

    Attributes:
        moment, action: When and what, as in forks.py.
        code: The exit code.
        said: Parts of the message.
    """

    moment: str
    action: str
    code: int
    said: tuple[str, ...]


@dataclass(frozen=True)
class Runs:
    """The same run three times: undisturbed, killed again and again, and in other troubles.

    Attributes:
        moments: When it was killed.
        codes: The exit codes of the processes in trouble, and of the last one, that had none.
        said: What they said.
    """

    whole: Path
    killed: Path
    troubled: Path
    moments: list[str]
    codes: list[int]
    said: list[str]


def _full(file: str) -> tuple[str, ...]:
    return (file, "File too large", "Free some space", "The same command continues")


REPEAT = "Run the same command again to continue."
TROUBLES = {
    "mitkd": (
        Trouble("open stages/pretrain/.checkpoint-2.partial/state.json", "full disk", 2, _full("checkpoint-2")),
        Trouble("os.rename stages/enhance/checkpoint-4", "SIGTERM", 143,
                ("SIGTERM: Stopped after step 4 of enhance; a checkpoint is saved", REPEAT)),
        Trouble("open events.jsonl", "full disk", 2, _full("events.jsonl")),
        Trouble("open stages/enhance/.checkpoint-8.partial/state.json", "SIGINT", 130,
                ("SIGINT: Stopped after step 8 of enhance; a checkpoint is saved", REPEAT)),
        Trouble("open stages/distil/.model.partial/config.json", "full disk", 2, _full("model")),
        Trouble("os.rename predictions/student/tnews.jsonl", "SIGTERM", 143, ("what is finished is kept", REPEAT)),
        Trouble("os.rename predictions/baseline/cluener.jsonl", "full disk", 2, _full("teacher")),
    ),
}  # fmt: skip


def run_in_trouble(method: Method, folder: Path, kills: int, seed: int, troubles: Sequence[Trouble] = ()) -> Runs:
    """The runs of a method, in a folder."""
    places = [folder / name for name in ("run", "killed", "troubled")]
    spec = {place.name.replace("run", "whole"): method.arguments(place) for place in places}
    given = {"kills": kills, "seed": seed, "troubles": [(trouble.moment, trouble.action) for trouble in troubles]}
    script = Path(__file__).with_name("forks.py")
    command = [sys.executable, str(script), json.dumps({**spec, **given})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr[-5000:])
    found = json.loads(done.stdout)
    said = done.stderr.split(SEPARATOR)
    return Runs(*places, found["moments"], found["codes"], said[len(said) - len(found["codes"]) :])


def results(folder: Path) -> dict[str, bytes]:
    """Every weight, prediction and exported network of a run, and its scores, as bytes by file."""
    files = [file for pattern in ("*.safetensors", "*.jsonl", "*.pdiparams") for file in folder.rglob(pattern)]
    found = {str(file.relative_to(folder)): file.read_bytes() for file in files if file.parent != folder}
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    scores = [[model["scores"] for model in record["models"]], record["agreement"]]
    scores += [[stage["stage"], stage["steps"], stage["tokens"], stage["best_dev"]] for stage in record["stages"]]
    return {**found, "scores": json.dumps(scores).encode()}


def assert_equal(expected: Path, found: Path) -> None:
    one, other = results(expected), results(found)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []

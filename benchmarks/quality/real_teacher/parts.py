"""The parts of the study in the order in which they run: each is one run of tools/train.py in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

HERE = Path(__file__).resolve().parent
TEACHERS, ENHANCED, NANO = "teachers", "enhanced", "nano"
SEEDS = ("1", "2", "3")
IN_DOMAIN = ("tnews", "ocnli")
FEW_CLUE = tuple(f"{task}-{draw}" for task in ("bustm", "eprstmt") for draw in range(5))
FEW_FOLDER = "few"  # of a run: its scores on FewCLUE
HUGGING_FACE = "huggingface"  # of a run: its student in Hugging Face's form
FEW_SPLIT = "dev_few_all"  # the union of FewCLUE's dev draws: it shares no row with any train draw


@dataclass(frozen=True)
class Part:
    """One run.

    Attributes:
        name: Its folder below the output.
        config: The file beside this one, without its ending.
        base: The part whose models it goes on from, and which is to be finished before.
        settings: Overrides of the config.
        cached: Stage to the folder of its teacher's signals, which all runs share.
        few: The models, as model@stage, to be scored on FewCLUE when it is trained.
        exported: model@stage whose encoder is to be written in Hugging Face's form; no class of transformers has a
            head over the mean of tokens.
    """

    name: str
    config: str
    base: Optional[str] = None
    settings: tuple[str, ...] = ()
    cached: Mapping[str, str] = field(default_factory=dict)
    few: tuple[str, ...] = ()
    exported: Optional[str] = None

    @property
    def file(self) -> Path:
        return HERE / f"{self.config}.yaml"


def queue() -> list[Part]:
    """Every part: teachers, the arms of each seed, the shown student, and the arms of one seed.

    A part that another one goes on from stands before it.
    """
    return [
        Part(TEACHERS, "teachers"),
        Part(ENHANCED, "enhanced", TEACHERS),
        *(part for seed in SEEDS for part in arms(seed)),
        Part(NANO, "nano", settings=(*ON_ENGINE, *IN_INT8), exported="student@distil"),
        *single(SEEDS[-1]),
    ]


def arms(seed: str) -> Iterator[Part]:
    """The arms of one seed; what is cheap, or what others go on from, first."""
    at = f"seed={seed}"

    def part(name: str, config: str, base: str, *settings: str) -> Part:
        few = ("student@finetune",) if config == "agnostic" else ()
        return Part(f"{at}/{name}", config, base, (at, *settings), CACHED.get(config, {}), few)

    yield part("mitkd", "agnostic", ENHANCED)
    yield part("scratch", "agnostic", TEACHERS, *WITHOUT_TEACHER)
    yield part("unenhanced", "agnostic", TEACHERS, *UNENHANCED)
    yield part("combined", "combined", f"{at}/mitkd")
    yield part("mkd", "joint", ENHANCED)
    yield part("mkd-bilstm", "joint", ENHANCED, *BILSTM)
    yield part("gd", "gd", TEACHERS)
    yield part("four-stages", "progressive", f"{at}/gd", *WITHOUT_TAD)
    yield part("task-alone", "progressive", TEACHERS, *TASK_ALONE)
    yield part("without-ged", "progressive", f"{at}/gd", "stages.GED.skip=true")
    yield part("without-gd", "progressive", TEACHERS, "stages.GED.train=student")


CACHED = {  # by config
    "progressive": dict.fromkeys(("TAD", "TSD", "TSD-without-TAD"), "fine-tuned"),
    "combined": dict.fromkeys(("TAD", "TSD"), "enhanced"),
    "joint": {"joint": "enhanced"},
}
ON_ENGINE = ("runtime.threads=2", "runtime.teacher_engine=paddle")
IN_INT8 = (  # the loss is what the study states; the gate is left open
    "export.tasks=[tnews, ocnli]", "export.engines=[paddle, onnx]", "export.precisions=[float32, int8]",
    "export.max_loss=100",
)  # fmt: skip
SCRATCH_RATE = "learning_rate=1e-3"  # of what begins from random weights; the configs have that of the other students
BILSTM = (
    f"stages.joint.optim.{SCRATCH_RATE}", f"stages.joint-alone.optim.{SCRATCH_RATE}",
    "stages.joint.optim.epochs=2", "stages.joint-alone.optim.epochs=2",
    "stages.joint.train=bilstm", "stages.joint-alone.train=bilstm",
    "report.student=bilstm@joint", "report.others={alone: bilstm@joint-alone}",
)  # fmt: skip
TASK_ALONE = ("stages.GED.skip=true", "stages.GED.train=student", "stages.TAD.skip=true")
WITHOUT_TAD = ("stages.TSD-without-TAD.skip=false", "report.others={without TAD: student@TSD-without-TAD}")
RANDOM = tuple(f"models.student.{key}" for key in ("init_from=null", "init_layers=[]", "init_narrowed=null"))
UNENHANCED = ("stages.distil.teacher=teacher", "models.student.init_from=teacher")
WITHOUT_TEACHER = (
    *RANDOM, UNENHANCED[0], "stages.distil.skip=true", f"stages.finetune.optim.{SCRATCH_RATE}",
    *(f"stages.finetune.task_settings.{task}.{SCRATCH_RATE}" for task in IN_DOMAIN),
)  # fmt: skip
UNLABELLED = (  # of TNEWS and OCNLI, whose rows are short, 12,000 more without their labels; 4,000 of them have them
    "data.unlabelled={tnews: [clue/tnews_public/train.json], ocnli: [clue/ocnli_public/train.50k.json]}",
    "stages.TAD.cache=null",  # which reads each row once
    "stages.TAD.data.unlabelled_examples=12000", "stages.TSD.data.unlabelled_examples=12000",
)  # fmt: skip
ONLY_IN_DOMAIN = tuple(f"{key}=[{', '.join(IN_DOMAIN)}]" for key in ("stages.finetune.data.tasks", "report.tasks"))


def single(seed: str) -> Iterator[Part]:
    """The arms of one seed alone, beside its c and e, which are the first to be left out where time is short."""
    at = f"seed={seed}"

    def part(name: str, *settings: str) -> Part:
        return Part(f"{at}/{name}", "agnostic", TEACHERS, (at, *ONLY_IN_DOMAIN, UNENHANCED[0], *settings))

    yield part("narrowed", UNENHANCED[1], "stages.distil.skip=true")
    # The published shape's two heads are wider than the teacher's. 16 divides 128 and 384.
    heads = ("models.student.num_attention_heads=4", "stages.distil.objective.relation.relation_heads=16")
    yield part("3L128H", UNENHANCED[1], "models.student.init_layers=[3, 7, 11]", "models.student.shape=pico", *heads)
    yield Part(f"{at}/unlabelled", "progressive", f"{at}/gd", (at, *UNLABELLED))
    whole = ("models.student.init_layers=[1, 3, 5, 7, 9, 11]", "models.student.init_narrowed=null")  # as wide
    yield part("6L384H", UNENHANCED[1], "models.student.shape=mini", *whole)
    yield part("random", *RANDOM)

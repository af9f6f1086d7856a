"""The arms of the study, the groups of tasks that they are judged on, and which is to be above which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.quality.real_teacher.parts import ENHANCED, FEW_CLUE, IN_DOMAIN, NANO, SEEDS, TEACHERS

GROUPS = {
    "in-domain": IN_DOMAIN,
    "out-of-domain": ("shopping_category", "shopping_sentiment"),
    "few labels": (*FEW_CLUE, "few_tnews-480", "few_tnews-1920", "few_ocnli-1536"),
}


@dataclass(frozen=True)
class Arm:
    """What an arm is, the run that trains it ({seed} stands for the seed), its model@stage, and its seeds."""

    what: str
    run: str
    reference: str
    seeds: Sequence[str] = SEEDS


ONE, LAST = SEEDS[:1], SEEDS[-1:]
ARMS = {
    "a": Arm("teacher, fine-tuned on the same rows", TEACHERS, "teacher@finetune-teacher", ONE),
    "a+": Arm("teacher, enhanced", ENHANCED, "teacher@enhance", ONE),
    "b": Arm("student from scratch", "seed={seed}/scratch", "student@finetune"),
    "c": Arm("distilled, teacher not enhanced", "seed={seed}/unenhanced", "student@finetune"),
    "d": Arm("MITKD", "seed={seed}/mitkd", "student@finetune"),
    "e": Arm("the four stages", "seed={seed}/four-stages", "student@TSD"),
    "f": Arm("without GED", "seed={seed}/without-ged", "student@TSD"),
    "g": Arm("without GD", "seed={seed}/without-gd", "student@TSD"),
    "t": Arm("without TAD", "seed={seed}/four-stages", "student@TSD-without-TAD"),
    "h": Arm("TSD alone", "seed={seed}/task-alone", "student@TSD"),
    "i": Arm("MKD", "seed={seed}/mkd", "student@joint"),
    "i0": Arm("as i, no teacher", "seed={seed}/mkd", "student@joint-alone"),
    "j": Arm("MKD, BiLSTM", "seed={seed}/mkd-bilstm", "bilstm@joint"),
    "j0": Arm("as j, no teacher", "seed={seed}/mkd-bilstm", "bilstm@joint-alone"),
    "k": Arm("the three papers together", "seed={seed}/combined", "student@TSD"),
    "u": Arm("as e, more texts without labels (one seed)", "seed={seed}/unlabelled", "student@TSD", LAST),
    "n": Arm("as c, not distilled (one seed)", "seed={seed}/narrowed", "student@finetune", LAST),
    "r": Arm("as c, from random weights (one seed)", "seed={seed}/random", "student@finetune", LAST),
    "m": Arm("as c, 6L384H (one seed)", "seed={seed}/6L384H", "student@finetune", LAST),
    "p": Arm("as c, 3L128H (one seed)", "seed={seed}/3L128H", "student@finetune", LAST),
    "s+": Arm("teacher of the student that is shown", NANO, "teacher@enhance", ONE),
    "s": Arm("the student that is shown", NANO, "student@finetune", ONE),
}
ORDERS = (  # the first is to be above the second, on average over the group, for every seed
    *((one, other, group) for group in ("out-of-domain", "few labels") for one, other in (("d", "c"), ("c", "b"))),
    *((one, other, "in-domain") for one, other in (
        ("e", "f"), ("e", "g"), ("e", "t"), ("f", "h"), ("g", "h"), ("t", "h"),
        ("i", "i0"), ("j", "j0"), ("a", "j"), ("a", "j0"), ("k", "d"), ("k", "e"), ("k", "i"),
    )),
)  # fmt: skip


def common_seeds(study: Mapping[str, Any], one: str, other: str) -> list[str]:
    """The seeds that both arms were run with; a teacher, of which there is one, is compared with every seed."""
    found = [study["arms"][arm]["seeds"] for arm in (one, other)]
    if not all(found):
        return []
    return [seed for seed in SEEDS if all(seed in seeds or _single(arm) for arm, seeds in zip((one, other), found))]


def of_seed(arm: str, seed: str) -> str:
    """The seed whose run stands for an arm beside this seed of another."""
    return ONE[0] if _single(arm) else seed


def _single(arm: str) -> bool:
    """Whether there is one of the arm for all seeds."""
    return ARMS[arm].run in (TEACHERS, ENHANCED)

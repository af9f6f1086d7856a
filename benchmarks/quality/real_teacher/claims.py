"""What the study must show, evaluated on its numbers: every claim holds, does not, or is not yet run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from benchmarks.quality.judging import above_majority, averages, draws_of, gains_between, shown
from benchmarks.quality.real_teacher.arms import GROUPS, ORDERS, common_seeds, of_seed
from benchmarks.quality.real_teacher.parts import SEEDS
from ernie_tiny.evaluation.statistics import mean_and_deviation

NOT_RUN, HOLDS, DOES_NOT = "not yet run", "holds", "does not hold"
STUDENTS = ("b", "c", "d", "e", "f", "g", "t", "h", "i", "i0", "k")  # the arms of 4L312H with three seeds
KEPT, KEPT_IN_INT8, LARGEST_LAYERS = 98.0, 97.0, 5e6  # percent of the teacher (twice), parameters
MARKED = ("tnews", "ocnli")  # the tasks that the shown student is held to
TNEWS, OCNLI, OCNLI_OF_TEACHER = 54.5, 68.73, 70.2  # percent on dev; MiniRBT-H256 has TNEWS 54.45 and OCNLI 68.73
EXPORTS = ("Paddle Inference", "Hugging Face")


@dataclass(frozen=True)
class Claim:
    """One line: the number of what must be shown, what is claimed, the numbers, and what became of it."""

    number: int
    text: str
    numbers: str
    verdict: str
    interval: str = ""


def claims(study: Mapping[str, Any]) -> list[Claim]:
    """Every claim in the order of its numbers."""
    orders = [_order(study, *order) for order in ORDERS]
    found = [*_kept(study), *orders, *_shown_student(study), _exported(study)]
    return sorted(found, key=lambda claim: claim.number)


def tasks_of(study: Mapping[str, Any], group: str) -> list[str]:
    """The tasks of a group that carry a signal, as far as the arms b, c and d are there to say so.

    A task does if the best of the three is, on average over its seeds and draws, above the most frequent label by more
    than two standard errors of the dev set. The rule looks at the best, whichever it is, so that it favours none.
    """
    alive = []
    for draws in draws_of(GROUPS[group]).values():
        best = max(
            (sum(found) / len(found) for arm in ("b", "c", "d") if (found := _scores(study, arm, draws))), default=None
        )
        majority = [study["majority"][task] for task in draws if task in study["majority"]]
        if best is None or above_majority(best, sum(majority) / len(majority), study["examples"][draws[0]]):
            alive += draws
    return alive


def _scores(study: Mapping[str, Any], arm: str, tasks: Sequence[str]) -> list[float]:
    """By seed the mean over tasks; a seed without one of them is left out."""
    return averages([found["scores"] for found in study["arms"][arm]["seeds"].values()], tasks)


def average(study: Mapping[str, Any], arm: str, seed: str, tasks: Sequence[str]) -> Optional[float]:
    found = study["arms"][arm]["seeds"].get(of_seed(arm, seed))
    values = averages([found["scores"]], tasks) if found else []
    return values[0] if values else None


def _order(study: Mapping[str, Any], above: str, below: str, group: str) -> Claim:
    """One arm above another for every seed, on average over the group."""
    number = 4 if above == "k" else 2
    text = f"{above} > {below}, {group}"
    tasks = tasks_of(study, group)
    pairs = [
        (one, other)
        for seed in common_seeds(study, above, below)
        if (one := average(study, above, seed, tasks)) is not None
        and (other := average(study, below, seed, tasks)) is not None
    ]
    if not pairs:
        return Claim(number, text, "", NOT_RUN)
    gains, verdict = gains_between(*zip(*pairs))
    by_seed = ", ".join(f"{gain:+.2f}" for gain in gains)
    ends = study["intervals"].get(text)
    interval = f"{ends[0]:+.2f} to {ends[1]:+.2f}" if ends else ""
    holds = verdict == "holds"
    found = _of_seeds(HOLDS if holds else DOES_NOT, len(gains), decided=not holds)
    return Claim(number, text, f"{shown(gains, '+.2f')} ({by_seed})", found, interval)


def _of_seeds(verdict: str, seeds: int, decided: bool = False) -> str:
    """A verdict with the number of seeds it rests on; it is one "so far" unless no further seed can change it."""
    if seeds == len(SEEDS):
        return verdict
    return f"{verdict}{'' if decided else ' so far'}, {seeds} of {len(SEEDS)} seeds"


def _kept(study: Mapping[str, Any]) -> Iterator[Claim]:
    """Claim 1: what the best student keeps of the teacher that was fine-tuned on the same rows."""
    text = f"the best 4L312H arm keeps {KEPT:.0f} % of the teacher (a) in domain"
    tasks = tasks_of(study, "in-domain")
    teacher = average(study, "a", SEEDS[0], tasks)
    by_arm = {arm: _scores(study, arm, tasks) for arm in STUDENTS}
    by_arm = {arm: found for arm, found in by_arm.items() if found}
    if teacher is None or not by_arm:
        yield Claim(1, text, "", NOT_RUN)
    else:
        kept = {arm: [100 * value / teacher for value in found] for arm, found in by_arm.items()}
        mean = {arm: mean_and_deviation(found)[0] for arm, found in kept.items()}
        enough = [arm for arm in kept if mean[arm] >= KEPT and len(kept[arm]) == len(SEEDS)]
        best = max(enough or kept, key=lambda arm: mean[arm])
        verdict = HOLDS if mean[best] >= KEPT else DOES_NOT
        yield Claim(1, text, f"{best}: {shown(kept[best])} % of {teacher:.2f}", _of_seeds(verdict, len(kept[best])))
    own = {task: average(study, "s", SEEDS[0], [task]) for task in MARKED}
    yield _kept_by_shown(study, own, KEPT, "the shown student")
    yield _kept_by_shown(study, study["int8"], KEPT_IN_INT8, "the shown student in INT8")


def _kept_by_shown(
    study: Mapping[str, Any], scores: Mapping[str, Optional[float]], bound: float, student_name: str
) -> Claim:
    text = f"{student_name} keeps {bound:.0f} % of its teacher on TNEWS and on OCNLI"
    kept = {}
    for task in MARKED:
        student, teacher = scores.get(task), average(study, "s+", SEEDS[0], [task])
        if student is None or teacher is None:
            return Claim(1, text, "", NOT_RUN)
        kept[task] = 100 * student / teacher
    numbers = ", ".join(f"{task} {value:.2f} %" for task, value in kept.items())
    return Claim(1, text, numbers, HOLDS if min(kept.values()) >= bound else DOES_NOT)


def _shown_student(study: Mapping[str, Any]) -> Iterator[Claim]:
    """Claim 3: the student that is shown, against the published ones of its size."""
    shown_seeds = study["arms"]["s"]["seeds"]
    layers = shown_seeds[SEEDS[0]]["layers"] if shown_seeds else None
    tnews, ocnli = (average(study, "s", SEEDS[0], [task]) for task in MARKED)
    teacher = average(study, "s+", SEEDS[0], ["ocnli"])
    yield _at_least(
        "the shown student's layers have at most 5 M parameters", layers, lambda value: value <= LARGEST_LAYERS, ",.0f"
    )
    yield _at_least(f"the shown student has at least {TNEWS} on TNEWS", tnews, lambda value: value >= TNEWS)
    if teacher is None or teacher >= OCNLI_OF_TEACHER:
        text = f"the shown student is above {OCNLI} on OCNLI (its teacher has {OCNLI_OF_TEACHER} or more)"
        yield _at_least(text, ocnli if teacher is not None else None, lambda value: value > OCNLI)


def _at_least(text: str, value: Optional[float], holds: Any, spec: str = ".2f") -> Claim:
    if value is None:
        return Claim(3, text, "", NOT_RUN)
    return Claim(3, text, format(value, spec), HOLDS if holds(value) else DOES_NOT)


def _exported(study: Mapping[str, Any]) -> Claim:
    """Claim 5: configs/mitkd/nano.yaml through _BASE_, trained by one command, exported in both forms."""
    text = "nano.yaml, which rests on configs/mitkd/nano.yaml, is trained and exported"
    if not study["arms"]["s"]["seeds"]:
        return Claim(5, text, "", NOT_RUN)
    made = study["exports"]
    return Claim(5, text, ", ".join(made), HOLDS if set(EXPORTS) <= set(made) else DOES_NOT)

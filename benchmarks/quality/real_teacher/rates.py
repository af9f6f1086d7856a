"""Which rates won: the teacher's in its grid, a student's in rates.yaml."""

from __future__ import annotations

from pathlib import Path

from benchmarks.quality.real_teacher.parts import RATES, STARTS, STUDENT_RATES, grid
from ernie_tiny.errors import InputError
from ernie_tiny.runs.run_folders import read_results

TEACHER = "teacher"


def rates(output: Path) -> dict[str, dict[str, float]]:
    """Kind of model ("teacher", or one of STARTS) to the score of each rate on dev; only kinds that are finished."""
    found = {}
    grid_results = {Path(part.name).name: read_results(output / part.name) for part in grid()}
    scores = {rate: results.models[0].average for rate, results in grid_results.items() if results is not None}
    if len(scores) == len(grid_results):
        found[TEACHER] = scores
    results = read_results(output / RATES)
    if results is not None:
        averages = {model.role: model.average for model in results.models}
        found |= {start: {rate: averages[f"{start}-{rate}"] for rate in STUDENT_RATES} for start in STARTS}
    return found


def best_rate(output: Path, kind: str) -> str:
    """The rate of a kind with the best score, the lower one of two alike.

    Raises:
        InputError: the runs that decide it are not finished.
    """
    scores = rates(output).get(kind)
    if scores is None:
        deciding = "grid" if kind == TEACHER else RATES
        raise InputError(f"{output / deciding}: is not finished, so that no rate has won. Run the same command again.")
    return max(scores, key=lambda rate: (scores[rate], -float(rate)))

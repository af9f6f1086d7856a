"""Which rates of a student won in rates.yaml."""

from __future__ import annotations

from pathlib import Path

from benchmarks.quality.real_teacher.parts import RATES, STUDENT_RATES
from ernie_tiny.errors import InputError
from ernie_tiny.runs.run_folders import read_results


def rates(output: Path) -> dict[str, dict[str, float]]:
    """Each of STUDENT_RATES to the score of each rate on dev; empty before the run is finished."""
    results = read_results(output / RATES)
    if results is None:
        return {}
    averages = {model.role: model.average for model in results.models}
    return {start: {rate: averages[f"{start}-{rate}"] for rate in tried} for start, tried in STUDENT_RATES.items()}


def best_rate(output: Path, start: str) -> str:
    """The rate with the best score for students that begin so, the lower one of two alike.

    Raises:
        InputError: the run that decides it is not finished.
    """
    scores = rates(output).get(start)
    if scores is None:
        raise InputError(f"{output / RATES}: is not finished, so that no rate has won. Run the same command again.")
    return max(scores, key=lambda rate: (scores[rate], -float(rate)))

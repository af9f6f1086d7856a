"""A run's models in VisualDL, as points of quality over cost."""

from __future__ import annotations

import re
from pathlib import Path

from ernie_tiny.report.results import Results
from ernie_tiny.report.summary import markdown_tables, verdict
from ernie_tiny.training.curves import CURVES_FOLDER, curve_tag, fresh_writer

AVERAGE = "average score"


def write_models(folder: Path, results: Results) -> None:
    """Each model of results.json as a point: VisualDL's tab of hyper-parameters plots costs against scores.

    The verdict and the table go to its tab of texts.
    """
    for model in results.models:
        target = folder / CURVES_FOLDER / "models" / re.sub(r"[^\w.-]+", "_", model.role)
        with fresh_writer(target) as writer:
            costs = {
                "latency p50, ms": model.speed and model.speed.p50,
                "on disk, MB": model.megabytes,
                "parameters, M": model.parameters / 1e6,
            }
            scores = {AVERAGE: model.average, **model.main}
            writer.add_hparams(
                {"model": model.role, **{name: float(cost) for name, cost in costs.items() if cost is not None}},
                [curve_tag(name) for name in scores],
            )
            for name, score in scores.items():
                writer.add_scalar(tag=curve_tag(name), value=float(score), step=0)
    if results.models:
        with fresh_writer(folder / CURVES_FOLDER / "results") as writer:
            writer.add_text(tag="results", text_string=f"{verdict(results)}\n\n{markdown_tables(results)}", step=0)

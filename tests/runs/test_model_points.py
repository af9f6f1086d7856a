"""VisualDL reads back the models of a run."""

from __future__ import annotations

import dataclasses

from ernie_tiny.runs.model_points import write_models
from tests.report.made_results import make
from tests.training.test_curves import read, scalars


def test_models_are_points_of_cost_and_quality(tmp_path):
    results = make()
    results.models.append(dataclasses.replace(results.models[1], role="50 % a/b"))
    for _ in range(2):
        write_models(tmp_path, results)
    models = tmp_path / "visualdl" / "models"
    assert sorted(path.name for path in models.iterdir()) == ["50_a_b", "baseline", "student", "teacher"]
    (point,) = read(models / "student", "hyper_parameters", "hparam")
    costs = {item.name: item.float_value for item in point.hparam.hparamInfos if item.HasField("float_value")}
    assert costs["latency p50, ms"] == 5.0 and round(costs["parameters, M"], 2) == 17.97
    assert scalars(models / "student", "average score") == [(0, 65.0)]
    (text,) = read(tmp_path / "visualdl" / "results", "text", "results")
    assert "keeps 92.9 %" in text.text.encoded_text_string

"""VisualDL reads back what a run wrote, while it runs and when it is finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
from visualdl import LogReader

from ernie_tiny.training.curves import StageCurves
from ernie_tiny.training.events import EventLog, read_events
from tests.training.small_stage import Stream, assert_equal, run


def read(folder: Path, component: str, tag: str) -> list:
    (file,) = folder.glob("vdlrecords.*")  # VisualDL shows but the newest of a folder
    return LogReader(file_path=str(file)).get_data(component, tag)


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(item.id, item.value) for item in read(folder, "scalar", tag)]


def test_curves_are_there_while_the_stage_runs(tmp_path):
    curves = StageCurves(tmp_path, "finetune/tnews", histograms=False)
    curves.begin([], 0)
    curves.add("log", 10, {"loss": 2.0, "raw/hard": 1.5})
    curves.add("scores", 10, {"tnews": 50.0})
    folder = tmp_path / "visualdl" / "finetune" / "tnews"
    assert scalars(folder, "finetune/tnews/loss") == [(10, 2.0)]
    assert scalars(folder, "finetune/tnews/dev/tnews") == [(10, 50.0)]
    assert LogReader(logdir=str(tmp_path)).runs() == [str(folder)]
    curves.close()


def test_resumed_stage_shows_the_steps_before_once(tmp_path):
    log = EventLog(tmp_path)
    for step, loss in ((10, 9.0), (20, 8.0), (30, 7.0), (20, 6.0), (30, 5.0)):  # resumed from step 10
        log.write("log", stage="distil", step=step, loss=loss)
    log.write("log", stage="enhance", step=10, loss=1.0)
    for _ in range(2):
        curves = StageCurves(tmp_path, "distil", histograms=False)
        curves.begin(read_events(tmp_path), 20)
        curves.add("log", 30, {"loss": 4.0})
        curves.close()
    assert scalars(tmp_path / "visualdl" / "distil", "distil/loss") == [(10, 9.0), (20, 6.0), (30, 4.0)]


def test_histograms_hold_every_weight_and_every_gradient(tmp_path):
    network = paddle.nn.Linear(3, 2)
    network(paddle.to_tensor([[1.0, 2.0, np.inf]])).sum().backward()  # the gradient of a weight is its input
    curves = StageCurves(tmp_path, "distil", histograms=True)
    curves.begin([], 0)
    curves.add_histograms(network, 5, scale=2.0)
    curves.close()
    folder = tmp_path / "visualdl" / "distil"
    (weights,) = read(folder, "histogram", "distil/weights/weight")
    (gradients,) = read(folder, "histogram", "distil/gradients/weight")
    assert weights.id == gradients.id == 5
    assert sum(weights.histogram.hist) == 6 and sum(gradients.histogram.hist) == 4
    assert (min(gradients.histogram.bin_edges), max(gradients.histogram.bin_edges)) == (0.5, 1.0)


def test_stage_draws_histograms_at_its_logging_steps_and_trains_alike(tmp_path):
    curves = StageCurves(tmp_path / "drawn", "stage", histograms=True)
    assert_equal(run(tmp_path / "plain", Stream()), run(tmp_path / "drawn", Stream(), curves=curves))
    folder = tmp_path / "drawn" / "visualdl" / "stage"
    assert [step for step, _ in scalars(folder, "stage/loss")] == [2, 4, 6]
    name = "models.student.encoder.embeddings.word_embeddings.weight"
    for kind in ("weights", "gradients"):
        assert [item.id for item in read(folder, "histogram", f"stage/{kind}/{name}")] == [2, 4, 6]

"""Speed and size of exports, and the choice of the fastest form."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ernie_tiny.cli import benchmark as cli_benchmark
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import Example
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.engine_facts import AUTO, FACTS, PRECISIONS, forms, is_installed
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.kinds.ask import featurise, head_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.report.speeds import draw_speeds
from ernie_tiny.runs import benchmark as runs_benchmark
from ernie_tiny.runs.benchmark import benchmark_models, read_texts, tables, time_texts
from ernie_tiny.serving import auto, benchmark
from ernie_tiny.serving.auto import AutoEngine, auto_engine
from ernie_tiny.serving.benchmark import Candidate, Cell, Timing, timings
from ernie_tiny.serving.export import export_model
from ernie_tiny.serving.exported import PADDLE, forms_of, megabytes
from ernie_tiny.serving.predictor import Predictor
from tests.shapes import TINY

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *"今天北京的天气很好"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    spec, made = find_task("tnews"), []
    for hidden in (16, 24):
        shape = {**TINY, "hidden_size": hidden, "vocab_size": 2000 * hidden, "max_position_embeddings": 32}
        model = MultiTaskModel(build_encoder("ernie", shape), [head_of(spec)])
        made.append(tmp_path_factory.mktemp("export"))
        export_model(model, spec, TOKENIZER, 24, made[-1])
    return made


def test_each_export_gets_its_numbers(folders: list[Path]) -> None:
    candidates = {str(folder): Candidate(folder, PADDLE, 1) for folder in folders}
    found = timings(candidates, [Cell(1, 16), Cell(4, 16)], seconds=0.01)
    assert len(found) == 2
    for single, batch in found.values():
        assert 0 < single.p50 <= single.p95 <= single.p99 and single.calls >= benchmark.ROUNDS * benchmark.FEWEST
        assert batch.texts_per_second > 0 and (single.cell, batch.cell) == (Cell(1, 16), Cell(4, 16))


def test_size_is_that_of_the_network_files(folders: list[Path]) -> None:
    for folder in folders:
        size = sum((folder / name).stat().st_size for name in ("model.json", "model.pdiparams"))
        assert megabytes(folder) == pytest.approx(size / 1e6, abs=0.005)
        assert megabytes(folder) > 1


@pytest.mark.parametrize(("engines", "rest"), [(("paddle", "onnx"), benchmark.REST), (("paddle", "paddle"), 0)])
def test_calls_go_in_turn_and_their_percentiles_are_those_of_the_clock(engines, rest, monkeypatch):
    order, slept = [], []
    taken = iter([0.5] * 4 + [number / 1000 for number in range(1, 13)])
    clock = (seconds for end in taken for seconds in (0.0, end))
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(benchmark.time, "sleep", slept.append)

    class Pretended(Candidate):
        def __init__(self, name: str, engine: str) -> None:
            self.name, self.form = name, (engine, "float32")

        def call(self, cell: Cell):
            return lambda: order.append(self.name)

    both = {name: Pretended(name, engine) for name, engine in zip("ab", engines)}
    found = timings(both, [Cell(2, 8)], seconds=0.001)
    assert "".join(order) == "aabb" + "aaabbb" * benchmark.ROUNDS  # of each round the first call does not count
    assert slept == [rest] * 2 * benchmark.ROUNDS
    assert [timing.p50 for timing in (*found["a"], *found["b"])] == [5.5, 7.5]  # of 1 2 5 6 9 10, and of 3 4 7 8 11 12
    (timing,) = found["a"]
    assert timing.calls == 6
    assert (timing.texts_per_second, timing.tokens_per_second) == pytest.approx((2000 / 5.5, 16000 / 5.5))
    assert timing.p99 == pytest.approx(9.95)
    assert [each.best for each in (timing, *found["b"])] == [1.5, 3.5]  # of the first round


def test_a_round_goes_through_all_shapes(folders, monkeypatch):
    asked = []
    call = Candidate.call
    monkeypatch.setattr(
        Candidate, "call", lambda self, cell: (made := call(self, cell)) and (lambda: (asked.append(cell), made()))
    )
    monkeypatch.setattr(benchmark, "FEWEST", 1)
    cells = [Cell(1, 8), Cell(2, 8)]
    timings({"a": Candidate(folders[0], PADDLE, 1)}, cells, 0.0)
    one, other = ([cell] * 2 for cell in cells)
    assert asked == [*one, *other] + [*one, *other] * benchmark.ROUNDS


def test_inputs_longer_than_the_model_reads_are_refused(folders):
    with pytest.raises(InputError, match="inputs of 99 tokens cannot be answered: InvalidArgumentError: .* Take a sho"):
        timings({"a": Candidate(folders[0], PADDLE, 1)}, [Cell(1, 99)], 0.01)


def test_what_an_engine_raises_of_its_own_is_refused_alike():
    class Refused(Exception):  # as ONNX Runtime's InvalidArgument
        pass

    def call():
        raise Refused("indices out of bounds")

    pretended = SimpleNamespace(form=("onnx", "float32"), call=lambda cell: call)
    with pytest.raises(InputError, match="inputs of 99 tokens cannot be answered: indices out of bounds. Take"):
        timings({"a": pretended}, [Cell(1, 99)], 0.01)


def test_faults_of_texts_are_found_before_anything_is_timed(tmp_path, monkeypatch):
    (tmp_path / "texts.jsonl").write_text(to_json({"text": "今天"}) + "\n", encoding="utf-8")
    spec = find_task("tnews")
    monkeypatch.setattr(runs_benchmark, "read_spec", lambda folder: spec)
    args = Namespace(
        texts=tmp_path / "texts.jsonl", models=[tmp_path], output=None, chart=None, threads=1, engines=["paddle"],
        precision=["float32"], batches=[1], lengths=[8], seconds=0.01,
    )  # fmt: skip
    monkeypatch.setattr(runs_benchmark, "benchmark_models", None)  # nothing is timed
    with pytest.raises(InputError, match="no field 'sentence'"):
        cli_benchmark.main(args)


@pytest.fixture
def forms_folder(tmp_path, monkeypatch):
    """An export that holds every form that this installation can make, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(auto, "CELLS", (Cell(1, 8), Cell(4, 16)))
    monkeypatch.setattr(benchmark, "REST", 0)
    shape = {**TINY, "num_hidden_layers": 1, "vocab_size": TOKENIZER.vocab_size, "max_position_embeddings": 32}
    spec = find_task("tnews")
    model = MultiTaskModel(build_encoder("ernie", shape), [head_of(spec)])
    asked = forms([name for name in FACTS if is_installed(name)], ["float32", "int8"])
    examples = [Example(str(number), (text,), 0) for number, text in enumerate(("今天北京", "的天气很好", "好"))]
    export_model(model, spec, TOKENIZER, 24, tmp_path / "model", asked, featurise(spec, examples, TOKENIZER, 24))
    return tmp_path / "model"


def test_auto_takes_the_fastest_for_the_nearest_shape_and_remembers_it(forms_folder, monkeypatch):
    if not is_installed("onnx"):
        pytest.skip("the extra onnx is not installed")
    fastest = {Cell(1, 8): "onnx, int8", Cell(4, 16): "paddle, float32"}

    def pretended(candidates, cells, seconds):
        slow = {cell: {name: Timing(cell, 1.5, 2.0, 2.0, 5, 1.5) for name in candidates} for cell in cells}
        for cell, name in fastest.items():
            slow[cell][name] = Timing(cell, 1.8, 2.0, 2.0, 5, 1.0)
        return {name: [slow[cell][name] for cell in cells] for name in candidates}

    monkeypatch.setattr(auto, "timings", pretended)
    engine = auto_engine(forms_folder, "int8", 1)
    assert engine.choice == {Cell(1, 8): ("onnx", "int8"), Cell(4, 16): PADDLE}
    asked = []
    watched = AutoEngine(
        {form: (lambda batch, form=form: asked.append(form)) for form in engine.engines}, engine.choice
    )
    for rows, length in ((1, 3), (1, 12), (2, 24), (64, 4)):
        watched(benchmark.Batch("", ("",) * rows, *([np.ones((rows, length), np.int64)] * 3)))
    assert asked == [("onnx", "int8"), ("onnx", "int8"), PADDLE, PADDLE]

    monkeypatch.setattr(auto, "timings", None)  # nothing is measured again
    assert auto_engine(forms_folder, "int8", 1).choice == engine.choice


def test_auto_keeps_to_the_precision_and_answers_alike(forms_folder):
    engine = auto_engine(forms_folder, "float32", 1)
    assert {precision for _, precision in engine.choice.values()} == {"float32"}
    texts = ["今天北京", "天气很好", "好"]
    expected, found = Predictor(forms_folder).predict(texts), Predictor(forms_folder, engine="auto").predict(texts)
    for one, other in zip(expected, found):
        assert one.answer == other.answer
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_auto_passes_over_forms_whose_files_are_not_there(forms_folder):
    (forms_folder / "model.onnx").unlink(missing_ok=True)
    assert ("onnx", "float32") not in auto_engine(forms_folder, "int8", 1).engines
    for file in forms_folder.glob("model.*"):
        file.unlink()
    with pytest.raises(InputError, match="model.json.*no such file"):
        auto_engine(forms_folder, "int8", 1)


def test_auto_measures_anew_where_nothing_can_be_kept(forms_folder, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert set(auto_engine(forms_folder, "float32", 1).choice) == {Cell(1, 8), Cell(4, 16)}


def test_a_shape_is_looked_up_once(monkeypatch):
    searched = []
    monkeypatch.setattr(AutoEngine, "form", lambda self, *shape: searched.append(shape) or PADDLE)
    engine = AutoEngine({PADDLE: lambda batch: {"logits": batch.input_ids}}, {Cell(1, 8): PADDLE})
    for rows in (1, 2, 1, 1, 2):
        ids = np.ones((rows, 5), np.int64)
        assert engine(benchmark.Batch("", ("",) * rows, ids, ids, ids))["logits"] is ids
    assert searched == [(1, 5), (2, 5)]


def test_the_benchmark_has_a_row_for_each_form_and_one_of_auto_and_the_first_is_the_measure(forms_folder, tmp_path):
    asked = [*forms_of(forms_folder), (AUTO, "int8")]
    record = benchmark_models([forms_folder], asked, [Cell(1, 8), Cell(4, 8)], 1, 0.01)
    assert list(record["models"]) == [f"model, {' '.join(form)}" for form in asked]
    first, *_, chosen = record["models"].values()
    assert [(timing["rows"], timing["length"]) for timing in first["timings"]] == [(1, 8), (4, 8)]
    assert {(timing["engine"], timing["precision"]) for timing in first["timings"]} == {PADDLE}
    engine = auto_engine(forms_folder, "int8", 1)
    assert [(timing["engine"], timing["precision"]) for timing in chosen["timings"]] == [
        engine.form(1, 8),
        engine.form(4, 8),
    ]
    for place in range(2):
        timings = [model["timings"][place] for model in record["models"].values()]
        assert max(timing["of_best"] for timing in timings) == 1
        fastest = min(timing["p50"] for timing in timings)
        assert chosen["timings"][place]["of_best"] == pytest.approx(fastest / chosen["timings"][place]["p50"], abs=1e-3)
    (tmp_path / "texts.jsonl").write_text(to_json({"sentence": "今天北京的天气"}) + "\n", encoding="utf-8")
    texts = time_texts([forms_folder], asked, read_texts([forms_folder], tmp_path / "texts.jsonl"), 4, 1)
    assert list(texts) == list(record["models"])
    assert all(each["texts_per_second"] < each["network_alone"] for each in texts.values())
    speeds, _, choices, _ = tables(record, texts)
    assert [row[0] for row in speeds.groups[0]] == list(record["models"])
    assert speeds.groups[0][0][2] == "1.00"  # the first against itself
    timing = chosen["timings"][0]
    assert choices.groups[0] == [
        [
            "model, auto int8",
            *(f"{one['engine']} {one['precision']} ({one['of_best']:.2f})" for one in chosen["timings"]),
        ]
    ]
    draw_speeds(record, tmp_path / "chart.svg")
    drawn = (tmp_path / "chart.svg").read_text(encoding="utf-8")
    ratio = first["timings"][0]["p50"] / timing["p50"]
    assert all(name in drawn for name in record["models"])
    assert f"{ratio:.2f} {timing['engine']} {timing['precision']}" in drawn and "1 x 8" in drawn


def test_without_auto_there_is_no_word_of_it(folders):
    record = benchmark_models(folders[:1], [PADDLE], [Cell(1, 8)], 1, 0.01)
    assert len(tables(record, {})) == 1 and not any(model["auto"] for model in record["models"].values())


def test_a_benchmark_of_nothing_that_runs_here_is_refused(folders):
    with pytest.raises(InputError, match="holds none of onnx int8 that can run here. Export it with --engines"):
        benchmark_models([folders[0]], [("onnx", "int8")], [Cell(1, 8)], 1, 0.01)
    assert PRECISIONS[0] == "float32" and forms_of(folders[0]) == [PADDLE]

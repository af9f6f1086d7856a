"""Exports for ONNX Runtime and OpenVINO, in float32 and below, and the gates that they pass."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import Prediction
from ernie_tiny.engine_facts import FACTS, forms
from ernie_tiny.engines.onnx_file import FILES, FLOAT_FILE, quantized_nodes
from ernie_tiny.engines.openvino import openvino_nodes
from ernie_tiny.errors import InputError
from ernie_tiny.runs.int8 import ran_in_int8
from ernie_tiny.runtime import processor
from ernie_tiny.serving import export
from ernie_tiny.serving.accuracy import loss_of, require_at_most
from ernie_tiny.serving.export import check_parity, export_model
from ernie_tiny.serving.exported import load_form
from ernie_tiny.serving.predictor import Predictor
from tests.serving.test_export import EXAMPLES, TOKENIZER, build, features_of

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("openvino", reason="the extra openvino is not installed")
ROOT = Path(__file__).resolve().parents[2]
PRECISIONS = ["float32", "int8", *(["bfloat16"] if processor().bfloat16 else [])]
ALL = forms(FACTS, PRECISIONS)


@pytest.fixture(scope="module", params=EXAMPLES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    export_model(build(request.param), find_task(request.param), TOKENIZER, 24, folder, ALL, features_of(request.param))
    return request.param, folder


def test_every_form_passes_its_gate(exported: tuple[str, Path]) -> None:
    task, folder = exported
    found = check_parity(folder, build(task), features_of(task), TOKENIZER.pad_id, 1e-4, ALL)
    assert {name for name in found if ", " in name} == {", ".join(form) for form in ALL} - {"paddle, float32"}
    assert max(found["onnx, float32"], found["openvino, float32"], found["inference"]) < 1e-5
    assert 0 < found["onnx, int8"] < 0.25 and 0 < found["openvino, int8"] < 0.25


def test_engines_report_nothing_to_their_makers(tmp_path: Path) -> None:
    """They would leave a device's number in the home as soon as they are imported."""
    program = "from ernie_tiny.engine_facts import needed; needed('onnxruntime'); needed('openvino').Core()"
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_every_engine_answers_as_paddle_does(exported: tuple[str, Path]) -> None:
    task, folder = exported
    expected = Predictor(folder).predict(EXAMPLES[task])
    for engine in ("onnx", "openvino"):
        found = Predictor(folder, engine=engine).predict(EXAMPLES[task])
        assert [one.answer for one in found] == [one.answer for one in expected]
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


@pytest.mark.parametrize("task", EXAMPLES)
def test_a_model_of_fewer_heads_passes_every_gate(task: str, tmp_path: Path) -> None:
    model, features = build(task, num_attention_heads=3, head_size=4), features_of(task)
    export_model(model, find_task(task), TOKENIZER, 24, tmp_path, ALL, features)
    found = check_parity(tmp_path, model, features, TOKENIZER.pad_id, 1e-4, ALL)
    assert max(found["onnx, float32"], found["openvino, float32"], found["inference"]) < 1e-5
    assert 0 < found["onnx, int8"] < 0.25 and 0 < found["openvino, int8"] < 0.25
    products = quantized_nodes(tmp_path / FILES["onnx", "int8"])["products"]
    assert products[1] - products[0] == 2 * 2  # of queries with keys, and of weights with values, as ever


def test_weights_and_tables_are_in_int8_and_a_quarter_of_the_size(exported: tuple[str, Path]) -> None:
    _, folder = exported
    found = quantized_nodes(folder / FILES["onnx", "int8"])
    products, embeddings = found["products"], found["embeddings"]
    # Six a layer, the pooler and the head; the products of queries with keys, and of weights with values, have none.
    assert products[1] - products[0] == 2 * 2 and products[0] in (2 * 6 + 1, 2 * 6 + 2)
    assert embeddings[0] == embeddings[1] == 3
    assert quantized_nodes(folder / FLOAT_FILE)["products"][0] == 0
    weights = {item.name: item for item in onnx.load(str(folder / FLOAT_FILE)).graph.initializer}
    small = {item.name: item for item in onnx.load(str(folder / FILES["onnx", "int8"])).graph.initializer}
    count = lambda items: sum(len(onnx.numpy_helper.to_array(item).tobytes()) for item in items.values())  # noqa: E731
    assert count(small) < 0.5 * count(weights)  # scales by channel weigh much beside matrices of 16 rows


@pytest.mark.parametrize("task", EXAMPLES)
def test_scales_fixed_on_examples_pass_the_gate_and_are_in_the_graph(task: str, tmp_path: Path) -> None:
    int8 = [("onnx", "int8")]
    features = features_of(task)
    export_model(build(task), find_task(task), TOKENIZER, 24, tmp_path, int8, features, "static")
    found = check_parity(tmp_path, build(task), features, TOKENIZER.pad_id, 1e-4, int8)
    assert 0 < found["onnx, int8"] < 0.25
    nodes = quantized_nodes(tmp_path / FILES["onnx", "int8"])
    assert nodes["products"][1] - nodes["products"][0] == 2 * 2 and nodes["embeddings"] == (3, 3)
    graph = onnx.load(str(tmp_path / FILES["onnx", "int8"])).graph
    kinds = {node.op_type for node in graph.node}
    assert "QuantizeLinear" in kinds and not kinds & {"DynamicQuantizeLinear", "MatMulInteger"}


def test_openvino_multiplies_in_int8(exported: tuple[str, Path]) -> None:
    _, folder = exported
    products, embeddings = openvino_nodes(folder, "int8").values()
    assert products[0] == products[1] in (2 * 6 + 1, 2 * 6 + 2) and embeddings == (3, 3)
    assert [small for small, _ in openvino_nodes(folder, "float32").values()] == [0, 0]
    assert ran_in_int8(folder, "openvino") == (
        f"{products[0]} of {products[0]} products with weights in INT8, 3 of 3 embeddings in INT8"
    )


def test_an_engine_that_multiplies_nothing_in_int8_is_refused(tmp_path: Path) -> None:
    """OpenVINO's lot with scales that are found call by call: it reads such a file, and multiplies in float32."""
    export_model(build("tnews"), find_task("tnews"), TOKENIZER, 24, tmp_path, [("onnx", "float32"), ("onnx", "int8")])
    (tmp_path / FILES["onnx", "int8"]).rename(tmp_path / FILES["openvino", "int8"])
    with pytest.raises(InputError, match=r"openvino multiplies nothing .* \(0 of 14 products with weights in INT8, 3"):
        ran_in_int8(tmp_path, "openvino")


@pytest.fixture(scope="module")
def in_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export for ONNX Runtime in float32; who changes it copies it."""
    folder = tmp_path_factory.mktemp("onnx")
    export_model(build("tnews"), find_task("tnews"), TOKENIZER, 24, folder, [("onnx", "float32")])
    return folder


def test_the_gate_refuses_damaged_weights(in_onnx: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(in_onnx, tmp_path / "copy")
    file = folder / FLOAT_FILE
    graph = onnx.load(str(file))
    table = next(item for item in graph.graph.initializer if len(item.dims) == 2)
    damaged = onnx.numpy_helper.to_array(table).copy()
    damaged[::2] *= 1.01
    table.CopyFrom(onnx.numpy_helper.from_array(damaged, table.name))
    onnx.save(graph, str(file))
    with pytest.raises(InputError, match=r"logits \(onnx, float32\) differ by"):
        check_parity(folder, build("tnews"), features_of("tnews"), TOKENIZER.pad_id, 1e-4, [("onnx", "float32")])


def test_the_accuracy_gate_refuses_a_bad_quantisation() -> None:
    spec = dataclasses.replace(find_task("tnews"))
    examples = [dataclasses.replace(example, label=0) for example in EXAMPLES["tnews"]]
    right = [Prediction(example.id, spec.labels[0]) for example in examples]
    wrong = [dataclasses.replace(one, answer=spec.labels[1]) if int(one.id) < 3 else one for one in right]
    loss = loss_of(spec, examples, right, wrong)
    assert (loss.before, loss.after, loss.points, loss.examples) == (100, 70, 30, 10)
    assert 0 <= loss.low < 30 < loss.high <= 70
    require_at_most(loss, 30, "tnews")
    with pytest.raises(InputError, match="tnews: accuracy 100.00 before, 70.00 after: 30.00 lost .* at most 0.5"):
        require_at_most(loss, 0.5, "tnews")


def test_an_equal_model_loses_nothing_on_any_draw() -> None:
    spec = find_task("tnews")
    examples = [dataclasses.replace(example, label=number % 2) for number, example in enumerate(EXAMPLES["tnews"])]
    answers = [Prediction(example.id, spec.labels[0]) for example in examples]
    loss = loss_of(spec, examples, answers, answers)
    assert (loss.points, loss.low, loss.high) == (0, 0, 0)


def test_a_form_that_the_folder_does_not_hold(tmp_path: Path) -> None:
    export_model(build("tnews"), find_task("tnews"), TOKENIZER, 24, tmp_path)
    for engine in ("onnx", "openvino"):
        with pytest.raises(InputError, match="model.onnx: no such file; .* for this engine and precision"):
            Predictor(tmp_path, engine=engine)
    with pytest.raises(InputError, match="The engine paddle has no int8. It has float32, bfloat16"):
        load_form(tmp_path, ("paddle", "int8"))


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_damaged_file(engine: str, in_onnx: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(in_onnx, tmp_path / "copy")
    file = folder / FLOAT_FILE
    file.write_bytes(bytes(file.stat().st_size))  # one that is shorter is refused before any engine reads it
    with pytest.raises(InputError, match="model.onnx: is damaged"):
        Predictor(folder, engine=engine)


def test_a_signal_finds_its_handler_when_engines_are_gone(exported: tuple[str, Path]) -> None:
    """Two OpenVINO engines that live at a time and are freed in their order once took the signals' stack with them."""
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom ernie_tiny.runtime import prepare\nprepare('cpu')\n"
        "from ernie_tiny.serving.exported import load_form\n"
        f"engines = [load_form(Path({str(exported[1])!r}), ('openvino', 'float32')) for _ in range(2)]\n"
        "del engines[0], engines[0]\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\nos.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 7, done.stderr


def test_an_engine_that_is_not_installed(in_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnxruntime is not installed .* pip install '\.\[onnx\]'"):
        Predictor(in_onnx, engine="onnx")


def test_bfloat16_cannot_be_compared_on_every_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "processor", lambda: dataclasses.replace(processor(), bfloat16=False))
    export.require_bfloat16([("paddle", "float32")])
    with pytest.raises(InputError, match="has no instructions for bfloat16, so what is exported cannot be compared"):
        export.require_bfloat16([("paddle", "bfloat16")])

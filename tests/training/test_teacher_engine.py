"""A teacher on an inference engine: the live teacher's signals within a bound, and one choice for a whole stage."""

from __future__ import annotations

import ctypes
import json
import logging
from importlib import import_module
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.base.core import set_num_threads

from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import RuntimeConfig
from ernie_tiny.distill.cache import CachedTeacher, write_cache
from ernie_tiny.distill.teacher import EngineTeacher, LiveTeacher
from ernie_tiny.engine_facts import FACTS, is_installed
from ernie_tiny.engines.buckets import in_buckets
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import CANDIDATE, POSITION, ROW
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest
from ernie_tiny.runtime import Processor, processor
from ernie_tiny.training import teacher_engine as module
from ernie_tiny.training.teacher_engine import TeacherEngine, check_agreement, frozen_teacher, teacher_engine
from tests.shapes import TINY

SHAPE = {**TINY, "num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
BILSTM = {
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "embedding_size": 8,
    "vocab_size": 40,
    "hidden_dropout_prob": 0.0,
}
HEADS = [
    HeadSpec("classes", ROW, 3, ("a", "b", "c")),
    HeadSpec("choices", CANDIDATE, 1),
    HeadSpec("number", ROW, 1),
    HeadSpec("spans", POSITION, 2),
]
PADDLE = TeacherEngine("paddle", "float32", "any")
ALL = SignalRequest(True, True, frozenset([0, 2]), frozenset([1, 2]))


@pytest.fixture(scope="module")
def model() -> MultiTaskModel:
    return MultiTaskModel(build_encoder("ernie", SHAPE), HEADS, masked_tokens=True)


def batch_of(task: str, rows: int = 4, **more) -> Batch:
    ids = np.random.default_rng(rows).integers(5, 40, (rows, 9))
    mask = (np.arange(9) < np.arange(9, 9 - rows, -1)[:, None]).astype(np.int64)
    return Batch(task, tuple(map(str, range(rows))), ids * mask, np.zeros_like(ids), mask, **more)


BATCHES = [
    batch_of("classes"),
    batch_of("number", 3),
    batch_of("spans"),
    batch_of("choices", num_choices=2, choice_mask=np.array([[1, 1], [1, 0]])),
    batch_of("", masked_positions=np.array([1, 11])),
]


REQUESTS = [  # with and without the last layer's output, which is what heads read
    ALL,
    SignalRequest(logits=True),
    SignalRequest(logits=True, hidden=frozenset([2]), projections=frozenset([2])),
    SignalRequest(logits=True, hidden=frozenset([1])),
    SignalRequest(embeddings=True),
    SignalRequest(projections=frozenset([0])),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_each_request_has_its_signals(model, request_, training):
    model.train() if training else model.eval()
    found = frozen_teacher(model, request_, PADDLE)(BATCHES[2])
    live = LiveTeacher(model, request_)(BATCHES[2])
    pairs = [(signal.of(found), signal.of(live)) for signal in request_.token_signals]
    pairs += [(found.logits, live.logits)] if request_.logits else []
    for one, other in pairs:
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=2e-6)


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: batch.task or "masked tokens")
def test_every_signal_of_every_head_is_the_live_teachers(model, batch, name):
    if not is_installed(name):
        pytest.skip(f"the extra {name} is not installed")
    live, engine = LiveTeacher(model, ALL)(batch), frozen_teacher(model, ALL, TeacherEngine(name, "float32", "any"))
    found = engine(batch)
    assert isinstance(engine, EngineTeacher) and engine.seconds > 0
    for signal in ALL.token_signals:
        np.testing.assert_allclose(signal.of(found).numpy(), signal.of(live).numpy(), atol=2e-6)
        assert signal.of(found).stop_gradient
    np.testing.assert_allclose(found.logits.numpy(), live.logits.numpy(), atol=2e-6)
    assert found.logits.stop_gradient


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_a_teacher_may_be_of_another_family(family):
    """The forward of some has a loop, whose variables Paddle tells from others by how their names begin."""
    model = MultiTaskModel(build_encoder(family, SHAPE), HEADS[:1])
    live, found = LiveTeacher(model, ALL)(BATCHES[0]), frozen_teacher(model, ALL, PADDLE)(BATCHES[0])
    for signal in ALL.token_signals:
        np.testing.assert_allclose(signal.of(found).numpy(), signal.of(live).numpy(), atol=2e-6)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, ...]]:
    """The shapes that Paddle Inference is asked in."""
    seen: set[tuple[int, ...]] = set()

    def spied(engine, signature):
        return in_buckets(lambda batch: seen.add(batch.input_ids.shape) or engine(batch), signature)

    monkeypatch.setattr(import_module("ernie_tiny.engines.paddle_inference"), "in_buckets", spied)
    return seen


def test_many_shapes_are_few_to_the_engine_and_none_changes_a_signal(model, asked):
    teacher, live, random = frozen_teacher(model, ALL, PADDLE), LiveTeacher(model, ALL), np.random.default_rng(0)
    whole = batch_of("spans", 9)
    given = set()
    for _ in range(100):
        rows, length = int(random.integers(1, 10)), int(random.integers(9, 25))
        given.add((rows, length))
        arrays = (whole.input_ids, whole.token_type_ids, whole.attention_mask)
        padded = [np.pad(array[:rows], ((0, 0), (0, length - 9))) for array in arrays]
        batch = Batch("spans", tuple(map(str, range(rows))), *padded)
        found, expected = teacher(batch), live(batch)
        for signal in ALL.token_signals:
            assert signal.of(found).shape == [rows, length, 32]
            np.testing.assert_allclose(signal.of(found).numpy(), signal.of(expected).numpy(), atol=2e-6)
        np.testing.assert_allclose(found.logits.numpy(), expected.logits.numpy(), atol=2e-6)
    assert len(given) > 60 and len(asked) <= 18  # 16 and 24 tokens of 1 to 8 and of 10 rows


def test_what_a_cache_holds_of_an_engines_signals_is_the_live_teachers(model, asked, tmp_path):
    request = SignalRequest(logits=True, hidden=frozenset([1]), projections=frozenset([2]))
    heads = {head.task: head for head in HEADS}
    batches = [batch_of("classes", 5), batch_of("spans", 3), BATCHES[3]]
    write_cache(tmp_path, frozen_teacher(model, request, PADDLE), batches, request, "float32", {}, heads)
    cached, live = CachedTeacher([tmp_path], request, "float32", {}, heads), LiveTeacher(model, request)
    for batch in batches:
        found, expected, real = cached(batch), live(batch), batch.token_mask.astype(bool)
        for signal in request.token_signals:
            np.testing.assert_allclose(signal.of(found).numpy()[real], signal.of(expected).numpy()[real], atol=2e-6)
        np.testing.assert_allclose(found.logits.numpy(), expected.logits.numpy(), atol=2e-6)
    assert asked == {(5, 16), (3, 16), (4, 16)}


def test_the_students_step_keeps_its_threads_beside_an_engine(model, monkeypatch):
    """Paddle Inference sets the process to one thread when a run ends."""
    library = Path(paddle.__file__).parent / "libs" / "libmklml_intel.so"
    if not library.is_file():
        pytest.skip("this build of Paddle multiplies without MKL, whose number of threads is asked for")
    threads = ctypes.CDLL(str(library)).MKL_Get_Max_Threads
    before = threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    try:
        frozen_teacher(model, ALL, PADDLE)(BATCHES[0])
        assert threads() == 2
    finally:
        set_num_threads(before)


def test_a_teacher_of_logits_alone_may_be_a_bilstm():
    model = MultiTaskModel(build_encoder("bilstm", BILSTM), HEADS[:1])
    request = SignalRequest(logits=True)
    found = frozen_teacher(model, request, PADDLE)(BATCHES[0])
    np.testing.assert_allclose(found.logits.numpy(), LiveTeacher(model, request)(BATCHES[0]).logits.numpy(), atol=2e-6)


def test_nothing_above_the_last_tap_is_exported(model, tmp_path):
    sizes = {}
    for layer in (0, 2):
        request = SignalRequest(projections=frozenset([layer]))
        network = module.SignalNetwork(model, request)
        module.export_network(network, tmp_path / str(layer))
        assert network.outputs == (f"queries-{layer}", f"keys-{layer}", f"values-{layer}")
        sizes[layer] = (tmp_path / str(layer) / "model.pdiparams").stat().st_size
    assert sizes[0] < sizes[2]


@pytest.mark.skipif(not processor().bfloat16, reason="this processor has no instructions for bfloat16")
def test_bfloat16_is_really_used_and_within_its_bound(model, caplog):
    chosen, request = TeacherEngine("paddle", "bfloat16", "any"), SignalRequest(projections=frozenset([2]))
    teacher = frozen_teacher(model, request, chosen)
    live, found = LiveTeacher(model, request)(BATCHES[0]), teacher(BATCHES[0])
    assert float(np.abs(found.queries[2].numpy() - live.queries[2].numpy()).max()) > 1e-4
    with caplog.at_level(logging.INFO):
        check_agreement("distil", teacher, model, request, BATCHES[0], chosen)
    assert "distil: teacher on paddle in bfloat16; its signals differ from dygraph's by" in caplog.text
    assert "(at most 5e-02)" in caplog.text


def test_an_engine_of_other_weights_is_refused(model):
    request = SignalRequest(projections=frozenset([1]))
    other = MultiTaskModel(build_encoder("ernie", SHAPE), HEADS)
    with pytest.raises(InputError, match=r"distil: its teacher on paddle in float32 gives signals that differ"):
        check_agreement("distil", frozen_teacher(other, request, PADDLE), model, request, BATCHES[0], PADDLE)


def test_auto_measures_once_and_keeps_its_choice(model, tmp_path, monkeypatch):
    runtime, request = RuntimeConfig(teacher_engine="auto"), SignalRequest(logits=True)
    monkeypatch.setattr(module, "is_installed", lambda engine: engine == "paddle")
    clock = iter([0.0, 3.0] * 3 + [0.0, 1.0] * 3).__next__  # three calls of dygraph, three of paddle
    arguments = (runtime, "distil", tmp_path, model, request, BATCHES[0], clock)
    chosen = teacher_engine(*arguments)
    assert (chosen.engine, chosen.precision, chosen.processor) == ("paddle", "float32", processor().name)
    assert json.loads((tmp_path / "teacher_engine.json").read_text(encoding="utf-8"))["engine"] == "paddle"
    assert teacher_engine(*arguments) == chosen  # and nothing is measured: the clock has stopped


def test_a_gpu_is_waited_for_before_the_clock_is_read(model, tmp_path, monkeypatch):
    """By a pretended GPU: dygraph gives it work that ends only when it is waited for."""
    now, due = [0.0], [0.0]

    def launch(*_):
        due[0] = now[0] + 5.0

    def wait():
        now[0] = due[0]

    monkeypatch.setattr(module.paddle.device, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(module, "frozen_teacher", lambda model, request, each: launch)
    monkeypatch.setattr(module.paddle.device, "synchronize", wait)
    arguments = (RuntimeConfig(teacher_engine="auto"), "distil", tmp_path, model, SignalRequest(logits=True))
    teacher_engine(*arguments, BATCHES[0], lambda: now[0])
    assert now[0] == 2 * 3 * 5.0  # dygraph and Paddle Inference, three calls each


def test_a_lower_precision_is_tried_only_where_the_config_says_so(monkeypatch):
    monkeypatch.setattr(module, "processor", lambda: Processor("made up", bfloat16=True))
    monkeypatch.setattr(module, "is_installed", lambda engine: engine != "onnx")
    tried = {
        precision: [str(each) for each in module.candidates(RuntimeConfig(teacher_precision=precision))]
        for precision in ("float32", "bfloat16")
    }
    assert tried["float32"] == [f"{engine} in float32" for engine in ("dygraph", "paddle", "openvino")]
    assert tried["bfloat16"] == [
        *("dygraph in float32", "paddle in float32", "paddle in bfloat16"),
        *("openvino in float32", "openvino in bfloat16"),
    ]


def test_a_stage_begun_elsewhere_in_bfloat16_stops_with_the_way_out(model, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "processor", lambda: Processor("an old one", bfloat16=False))
    write_choice(tmp_path, TeacherEngine("paddle", "bfloat16", "a new one"))
    runtime = RuntimeConfig(teacher_engine="auto", teacher_precision="bfloat16")
    with pytest.raises(InputError, match="chosen on a new one; this processor, an old one, has no instructions"):
        teacher_engine(runtime, "distil", tmp_path, model, SignalRequest(logits=True), BATCHES[0])


def write_choice(folder: Path, chosen: TeacherEngine) -> None:
    module.write_record(folder / module.CHOICE_FILE, vars(chosen))

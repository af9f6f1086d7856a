"""On what a stage's frozen teachers run: dygraph or an inference engine, as the config says or as is fastest."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np
import paddle

from ernie_tiny import processes
from ernie_tiny.batch import Array, Batch
from ernie_tiny.config.schema import RuntimeConfig
from ernie_tiny.distill.teacher import EngineTeacher, LiveTeacher, Teacher
from ernie_tiny.engine_facts import FACTS, forms, is_installed
from ernie_tiny.engines import Signature, load
from ernie_tiny.engines.export import export_network
from ernie_tiny.engines.onnx_file import write_onnx
from ernie_tiny.errors import InputError
from ernie_tiny.files import read_record, write_record
from ernie_tiny.models.backbone import usable_positions
from ernie_tiny.models.forms import MASKED_LOGIT
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signal_network import SignalNetwork
from ernie_tiny.models.signals import SignalRequest, Signals
from ernie_tiny.runtime import environment_threads, processor

CHOICE_FILE = "teacher_engine.json"
BOUNDS = {"float32": 1.0e-4, "bfloat16": 0.05}  # largest difference from dygraph, over a signal's largest value
TIMED_CALLS = 2
Clock = Callable[[], float]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherEngine:
    """An engine, its precision, and the processor that the choice was made on."""

    engine: str
    precision: str
    processor: str

    def __str__(self) -> str:
        return f"{self.engine} in {self.precision}"


def teacher_engine(
    runtime: RuntimeConfig,
    title: str,
    folder: Path,
    model: MultiTaskModel,
    request: SignalRequest,
    batch: Batch,
    clock: Clock = time.perf_counter,
) -> TeacherEngine:
    """What the config names; of "auto" the fastest on a batch, measured once and kept in the stage's folder.

    Every process has the main one's choice, and a stage that goes on has that of its beginning.

    Args:
        title: Of the stage.
        model, batch: One of the teachers, and inputs of the stage.
    Raises:
        InputError: this processor does not multiply bfloat16.
    """
    here = processor()
    if runtime.teacher_engine != "auto":
        chosen = TeacherEngine(runtime.teacher_engine, runtime.teacher_precision, here.name)
    else:
        chosen = TeacherEngine(**processes.from_main(lambda: _measured(runtime, folder, model, request, batch, clock)))
    if chosen.precision == "bfloat16" and not here.bfloat16 and _gpu() is None:
        raise InputError(
            f"{title}: its teacher is to run on {chosen}, chosen on {chosen.processor}; this processor, {here.name}, "
            "has no instructions for bfloat16. Go on where there are some, or set runtime.teacher_precision to float32 "
            f"and remove {folder} to begin the stage anew."
        )
    return chosen


def frozen_teacher(model: MultiTaskModel, request: SignalRequest, chosen: TeacherEngine) -> Teacher:
    """A source of the model's signals on the engine."""
    if chosen.engine == "dygraph":
        return LiveTeacher(model, request)
    network = SignalNetwork(model, request)
    signature = Signature(network.length_axes, usable_positions(model.encoder))
    threads = environment_threads() or 1
    # The guard has no prefix: Paddle knows the variables that it makes of a loop by how their names begin.
    with tempfile.TemporaryDirectory() as folder, paddle.utils.unique_name.guard():
        export_network(network, Path(folder))
        if chosen.engine != "paddle":
            write_onnx(Path(folder))
        engine = load(Path(folder), signature, chosen.engine, chosen.precision, threads, _gpu())
    return EngineTeacher(engine, network)


def check_agreement(
    title: str, teacher: Teacher, model: MultiTaskModel, request: SignalRequest, batch: Batch, chosen: TeacherEngine
) -> None:
    """Compares an engine's signals of a batch with dygraph's, and logs by how much they differ.

    Raises:
        InputError: some signal differs by more of its largest value than BOUNDS allows.
    """
    if chosen.engine == "dygraph":
        return
    difference = max(_differences(teacher(batch), LiveTeacher(model, request)(batch), request))
    bound = BOUNDS[chosen.precision]
    if not difference <= bound:
        raise InputError(
            f"{title}: its teacher on {chosen} gives signals that differ from dygraph's by {difference:.1e} of their "
            f"largest value; at most {bound:.0e} is allowed. Set runtime.teacher_engine to dygraph."
        )
    logger.info(
        "%s: teacher on %s; its signals differ from dygraph's by %.1e of their largest value (at most %.0e)",
        *(title, chosen, difference, bound),
    )


def _measured(
    runtime: RuntimeConfig, folder: Path, model: MultiTaskModel, request: SignalRequest, batch: Batch, clock: Clock
) -> dict[str, str]:
    file = folder / CHOICE_FILE
    if file.is_file():
        return dict(read_record(file, f"Remove {folder} to begin the stage anew."))
    seconds = {each: _seconds(frozen_teacher(model, request, each), batch, clock) for each in candidates(runtime)}
    for each, taken in seconds.items():
        logger.info("%s: %.3f s for the teacher's signals of a batch", each, taken)
    chosen = asdict(min(seconds, key=lambda each: seconds[each]))
    folder.mkdir(parents=True, exist_ok=True)
    write_record(file, chosen)
    return chosen


def candidates(runtime: RuntimeConfig) -> Iterator[TeacherEngine]:
    """What "auto" tries here."""
    here = processor()
    yield TeacherEngine("dygraph", "float32", here.name)
    engines = [name for name in FACTS if is_installed(name)] if _gpu() is None else ["paddle"]
    precisions = ["float32"]
    if runtime.teacher_precision == "bfloat16" and here.bfloat16 and _gpu() is None:
        precisions.append("bfloat16")
    for engine, precision in forms(engines, precisions):
        yield TeacherEngine(engine, precision, here.name)


def _seconds(teacher: Teacher, batch: Batch, clock: Clock) -> float:
    """The shortest of some calls; the first, which chooses kernels, does not count."""
    taken = []
    for _ in range(1 + TIMED_CALLS):
        before = clock()
        teacher(batch)
        if _gpu() is not None:  # dygraph returns before the GPU has ended
            paddle.device.synchronize()
        taken.append(clock() - before)
    return min(taken[1:])


def _differences(found: Signals, expected: Signals, request: SignalRequest) -> Iterable[float]:
    """Of every signal the largest difference at real tokens, over the largest value there."""
    real = expected.attention_mask.numpy().astype(bool)
    for signal in request.token_signals:
        yield _distance(signal.of(found).numpy()[real], signal.of(expected).numpy()[real])
    if request.logits:
        logits = expected.logits.numpy()
        possible = logits > MASKED_LOGIT / 2
        yield _distance(found.logits.numpy()[possible], logits[possible])


def _distance(found: Array, expected: Array) -> float:
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-6))


def _gpu() -> Optional[int]:
    device, _, number = paddle.device.get_device().partition(":")
    return int(number or 0) if device == "gpu" else None

"""Plain facts of inference engines, for the config, which is read without Paddle; ernie_tiny.engines has the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
PRECISIONS = (FLOAT32, BFLOAT16, INT8)
Form = tuple[str, str]  # engine and precision


@dataclass(frozen=True)
class EngineFacts:
    """What is known of an engine without loading a network.

    Attributes:
        name: As a config has it.
        module: What it is imported as.
        extra: Of this project's installation that brings it; "" where it is always there.
        precisions: That it computes in.
    """

    name: str
    module: str
    extra: str
    precisions: tuple[str, ...]


FACTS: Mapping[str, EngineFacts] = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            EngineFacts("paddle", "paddle", "", (FLOAT32, BFLOAT16)),
            EngineFacts("onnx", "onnxruntime", "onnx", (FLOAT32, INT8)),
            EngineFacts("openvino", "openvino", "openvino", (FLOAT32, BFLOAT16)),
        )
    }
)


def is_installed(engine: str) -> bool:
    """Whether the engine, and for one that is not Paddle's what converts networks for it, can be imported."""
    modules = (FACTS[engine].module, *(() if engine == "paddle" else ("onnxruntime", "paddle2onnx")))
    return all(find_spec(module) is not None for module in modules)


def forms(engines: Sequence[str], precisions: Sequence[str]) -> list[Form]:
    """Each of the engines in each of the precisions that it has."""
    return [
        (engine, precision) for engine in engines for precision in precisions if precision in FACTS[engine].precisions
    ]

"""Plain facts of inference engines, for the config, which is read without Paddle; ernie_tiny.engines has the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from ernie_tiny.errors import InputError

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
PRECISIONS = (FLOAT32, BFLOAT16, INT8)
AUTO = "auto"  # in the place of an engine: the fastest for each shape of input
Form = tuple[str, str]  # engine and precision
EXTRAS: Mapping[str, str] = MappingProxyType(  # what is imported, to the extra that brings it
    {
        **dict.fromkeys(("onnx", "onnxruntime", "paddle2onnx"), "onnx"),
        "openvino": "openvino",
        **dict.fromkeys(("fastapi", "uvicorn", "prometheus_client"), "serve"),
    }
)


@dataclass(frozen=True)
class EngineFacts:
    """What is known of an engine without loading a network.

    Attributes:
        module: What it is imported as.
        precisions: That it computes in.
    """

    module: str
    precisions: tuple[str, ...]


FACTS: Mapping[str, EngineFacts] = MappingProxyType(  # by an engine's name in a config
    {
        "paddle": EngineFacts("paddle", (FLOAT32, BFLOAT16)),
        "onnx": EngineFacts("onnxruntime", (FLOAT32, INT8)),
        "openvino": EngineFacts("openvino", (FLOAT32, BFLOAT16, INT8)),
    }
)


def needed(module: str) -> Any:
    """The module, or an InputError that says which extra installs it.

    What ONNX Runtime and OpenVINO would report to their makers is switched off: an import alone leaves the device's
    number in the home, and a machine that serves texts is to tell nobody.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO reports by this package
    try:
        return import_module(module)
    except ImportError as error:
        top = module.partition(".")[0]
        raise InputError(
            f"{top} is not installed ({error}). Install it in the project's folder: pip install '.[{EXTRAS[top]}]'."
        ) from error


def is_installed(engine: str) -> bool:
    """Whether the engine, and for one that is not Paddle's what converts networks for it, can be imported."""
    return all(find_spec(module) is not None for module in _modules(engine))


def require_installed(engine: str) -> None:
    """Raises an InputError that says which extra installs the engine."""
    for module in _modules(engine):
        needed(module)


def _modules(engine: str) -> tuple[str, ...]:
    return (FACTS[engine].module, *(() if engine == "paddle" else ("onnxruntime", "paddle2onnx")))


def forms(engines: Sequence[str], precisions: Sequence[str]) -> list[Form]:
    """Each of the engines in each of the precisions that it has."""
    return [
        (engine, precision) for engine in engines for precision in precisions if precision in FACTS[engine].precisions
    ]

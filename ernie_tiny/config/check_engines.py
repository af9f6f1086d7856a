"""Which engines run a teacher and are exported for, and in which precisions."""

from __future__ import annotations

from ernie_tiny.config.check_objective import Fault, check_choice
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.engine_facts import FACTS, forms


def check_engines(run: RunConfig, fault: Fault) -> None:
    """Raises an InputError for an engine or a precision that there is not, or that no engine asked for has."""
    precision, engine = run.runtime.teacher_precision, run.runtime.teacher_engine
    if engine == "dygraph" and precision != "float32":
        raise fault(
            "runtime.teacher_precision",
            f"= {precision!r} takes an engine: set runtime.teacher_engine to paddle or auto. A teacher "
            "in dygraph has the precision of runtime.precision.",
        )
    if engine in FACTS and precision not in FACTS[engine].precisions:
        able = ", ".join(FACTS[engine].precisions)
        raise fault("runtime.teacher_precision", f"= {precision!r}: the engine {engine} has {able}.")
    for key in ("engines", "precisions"):
        for value in getattr(run.export, key):
            check_choice(value, f"export.{key}", f"export.{key}", fault)
    check_choice(run.export.int8, "export.int8", "export.int8", fault)
    for precision in run.export.precisions:
        if not forms(run.export.engines, [precision]):
            able = ", ".join(name for name, facts in FACTS.items() if precision in facts.precisions)
            raise fault("export.precisions", f"= {precision!r}: none of export.engines has it. Add {able}.")
    for engine in run.export.engines:
        if not forms([engine], run.export.precisions):
            able = ", ".join(FACTS[engine].precisions)
            raise fault("export.engines", f"= {engine!r} has {able}, and export.precisions names none of them.")

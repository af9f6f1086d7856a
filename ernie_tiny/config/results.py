"""The keys of what stands at the end of a run: its report and its exported models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class ReportConfig:
    """Whose scores stand side by side, as model@stage."""

    teacher: Optional[str] = None
    student: Optional[str] = None
    baseline: Optional[str] = None  # the same student without distillation
    others: Mapping[str, Optional[str]] = field(default_factory=dict)  # further ones, such as ablations, by title
    tasks: tuple[str, ...] = ()  # by default those of the student's stage
    examples: Optional[int] = None  # draw so many of a task's dev examples
    batch_tokens: int = 8192

    @property
    def models(self) -> dict[str, str]:
        """Role (of the others their title) to model@stage, in the order of the report's rows."""
        roles = {"teacher": self.teacher, "student": self.student, "baseline": self.baseline, **self.others}
        return {role: reference for role, reference in roles.items() if reference is not None}

    @property
    def first(self) -> Optional[str]:
        """The model whose stage has the tasks that the report compares unless it names them."""
        return self.student or next(iter(self.models.values()), None)


@dataclass(frozen=True)
class ExportConfig:
    """Which model is exported for inference engines, one folder a task."""

    model: Optional[str] = None  # model@stage; nothing is exported without it
    tasks: tuple[str, ...] = ()  # by default those of the model's stage
    parity_examples: int = 32
    tolerance: float = 1.0e-4
    engines: tuple[str, ...] = ("paddle",)  # further ones, onnx and openvino, take extras of the installation
    precisions: tuple[str, ...] = ("float32",)  # each engine gets those that it has: bfloat16, int8
    int8: str = "dynamic"  # scales of ONNX Runtime, call by call, or static, on training examples as OpenVINO's are
    max_loss: float = 0.5  # points of the task's metric, of 100, that int8 may lose on dev

"""AdamW and the schedule of its learning rate."""

from __future__ import annotations

from functools import partial
from typing import Any, Optional

from paddle import nn
from paddle.optimizer import AdamW
from paddle.optimizer.lr import LambdaDecay

from ernie_tiny.config.schema import OptimConfig
from ernie_tiny.training.network import ClipEachModel, StageNetwork
from ernie_tiny.training.sharding import ClipAndKeepOwn, Sharding


def make_optimizer(
    optim: OptimConfig, steps: int, network: StageNetwork, sharding: Optional[Sharding] = None
) -> tuple[AdamW, LambdaDecay]:
    """AdamW without decay on biases and norms, each model clipped by itself, and the schedule that it follows.

    With a sharding it steps only what this process owns, and keeps no moments of the rest.
    """
    schedule = LambdaDecay(optim.learning_rate, partial(part_of_peak, steps, int(optim.warmup_ratio * steps)))
    norms = [layer for layer in network.sublayers() if isinstance(layer, nn.LayerNorm)]
    of_norms = {parameter.name for layer in norms for parameter in layer.parameters(include_sublayers=False)}
    decayed = {
        parameter.name
        for name, parameter in network.named_parameters()
        if "bias" not in name.rpartition(".")[2] and parameter.name not in of_norms  # models and tasks have any name
    }
    clip: Any = ClipEachModel(optim.max_grad_norm, network) if optim.max_grad_norm else None
    if sharding is not None:
        clip = ClipAndKeepOwn(clip, {each.name for name, each in network.named_parameters() if sharding.owns(name)})
    optimizer = AdamW(
        schedule,
        optim.adam_beta1,
        optim.adam_beta2,
        optim.adam_epsilon,
        network.parameters(),
        weight_decay=optim.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=clip,
    )
    return optimizer, schedule


def part_of_peak(steps: int, warmup: int, step: int) -> float:
    """What of the learning rate a step takes when `step` are done: up in the warm-up, then down to 0, in lines."""
    if step < warmup:
        return step / max(1, warmup)
    return max(0.0, (steps - step) / max(1, steps - warmup))

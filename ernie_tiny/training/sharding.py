"""Optimizer states partitioned over the processes: each keeps and steps the moments of its part of the parameters.

This is stage 1 of ZeRO (arXiv 1910.02054, section 5.1) by whole parameters. The gradients are averaged and clipped in
every process as without it; then each process steps what it owns, and sends it to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

import paddle
import paddle.distributed as distributed
from paddle import Tensor
from paddle.nn.clip import GradientClipBase

from ernie_tiny import processes
from ernie_tiny.batch import Array
from ernie_tiny.training.network import StageNetwork


class Sharding:
    """Which process owns which of the network's trainable parameters.

    The largest is given away first, always to the process that owns least so far: no process owns more than another
    by more than one parameter, so that a very large one (the word embeddings) is the least that its owner holds.

    Attributes:
        owners: Process of each parameter, by the parameter's name in the network.
    """

    def __init__(self, network: StageNetwork, parts: int) -> None:
        self._parameters = {name: each for name, each in network.named_parameters() if not each.stop_gradient}
        self.owners = partition({name: int(each.size) for name, each in self._parameters.items()}, parts)

    def owns(self, name: str) -> bool:
        """Whether this process owns the parameter that has this name in the network."""
        return self.owners.get(name) == processes.rank()

    def spread(self) -> None:
        """Sends each parameter from its owner to the others. Every process calls it after its step."""
        with paddle.no_grad():
            for name, parameter in self._parameters.items():
                distributed.broadcast(parameter, self.owners[name])

    def gathered(self, state: Mapping[str, Tensor], kinds: Sequence[str]) -> dict[str, Array]:
        """The optimizer's state of all parameters, as parameter/kind, in the main process; nothing in the others.

        Each array is sent by itself, so that no process but the main one holds more than one that it does not own.

        Args:
            state: That of the parameters which this process owns.
            kinds: What there is of each parameter: numbers of its shape, or one number where the kind is a power.
        """
        processes.wait_for_all()
        arrays: dict[str, Array] = {}
        for name, parameter in self._parameters.items():
            for kind in kinds:
                key = f"{name}/{kind}"
                # Paddle keeps the powers in the host's memory, which NCCL does not send: a copy lies on the device.
                empty = paddle.zeros([1] if "pow" in kind else parameter.shape, "float32")
                value = paddle.to_tensor(state[key].numpy()) if self.owns(name) else empty
                distributed.broadcast(value, self.owners[name])
                if processes.is_main():
                    arrays[key] = value.numpy()
        return arrays


def partition(sizes: Mapping[str, int], parts: int) -> dict[str, int]:
    """Part (0 to parts - 1) of each name: the largest first, always to the part that is smallest so far."""
    filled, found = [0] * parts, {}
    for name in sorted(sizes, key=lambda each: (-sizes[each], each)):
        found[name] = filled.index(min(filled))
        filled[found[name]] += sizes[name]
    return found


class ClipAndKeepOwn(GradientClipBase):
    """Clips all gradients, whose norm is then that of the whole network, and keeps those of what this process owns."""

    def __init__(self, clip: Optional[GradientClipBase], own: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clip, self._own = clip, own

    def __call__(self, params_grads: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        clipped = params_grads if self._clip is None else self._clip(params_grads)
        return [pair for pair in clipped if pair[0].name in self._own]

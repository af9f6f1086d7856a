"""What a checkpoint holds of a network and its optimizer: arrays by name and numbers, nothing that is unpickled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import paddle
from paddle import Tensor, nn
from safetensors.numpy import load_file, save_file

from ernie_tiny.batch import Array
from ernie_tiny.errors import InputError
from ernie_tiny.training.sharding import Sharding
from ernie_tiny.training.used_rows import ROW_OF_ID

WEIGHTS_FILE, OPTIMIZER_FILE = "network.safetensors", "optimizer.safetensors"
KINDS = "moment1|moment2|beta1_pow_acc|beta2_pow_acc"  # what Paddle's AdamW keeps of a parameter
_KEY = re.compile(rf"(.+)_({KINDS})_0")


def save_weights(network: nn.Layer, folder: Path) -> None:
    """Writes the weights by the names that they have in the network.

    Raises:
        InputError: one of them is NaN or infinite; nothing is written.
    """
    _save(network.state_dict(), folder / WEIGHTS_FILE)


def load_weights(network: nn.Layer, folder: Path) -> None:
    """Puts weights back.

    Raises:
        InputError: they are those of another network.
    """
    stored = load_file(folder / WEIGHTS_FILE)
    mine = network.state_dict()
    own = {name: list(value.shape) for name, value in mine.items()}
    other = {name for name, value in stored.items() if own.get(name) != list(value.shape)} | own.keys() - stored.keys()
    rows = [name for name in {*stored, *own} if name.rpartition(".")[2] == ROW_OF_ID]
    if any(name in other or not np.array_equal(stored[name], mine[name].numpy()) for name in rows):
        raise InputError(
            f"{folder}: the stage was begun with other rows of the token embeddings. On a CPU it trains those that its "
            f"texts use, on a GPU all: go on where it was begun and with the same texts, or remove {folder.parent} to "
            "repeat the stage."
        )
    if other:
        raise InputError(
            f"{folder}: {len(other)} of the weights are not those of this network, such as {min(other)}. It was "
            f"written by another version of ernie_tiny: go on with that one, or remove {folder.parent} to repeat the "
            "stage."
        )
    network.set_state_dict({name: paddle.to_tensor(value) for name, value in stored.items()})


def optimizer_state(
    optimizer: Any, network: nn.Layer, sharding: Optional[Sharding] = None
) -> Mapping[str, Union[Tensor, Array]]:
    """AdamW's moments and powers of beta as parameter/kind, the parameter by its name in the network.

    Paddle's own names are numbered by the order in which a process makes things. With a sharding every process calls
    it, and the main one gets the state of all: a checkpoint does not depend on the number of processes.
    """
    _create_moments(optimizer, network, sharding)
    names = {parameter.name: name for name, parameter in network.named_parameters()}
    state = {key: value for key, value in optimizer.state_dict().items() if key != "LR_Scheduler"}
    matches = {key: _KEY.fullmatch(key) for key in state}
    unknown = [key for key, match in matches.items() if match is None]
    if unknown:
        raise ValueError(f"the optimizer keeps {unknown[0]}, which a checkpoint has no place for")
    own = {f"{names[match[1]]}/{match[2]}": state[key] for key, match in matches.items() if match}
    return own if sharding is None else sharding.gathered(own, KINDS.split("|"))


def save_optimizer(state: Mapping[str, Union[Tensor, Array]], folder: Path) -> None:
    """Writes what optimizer_state gave.

    Raises:
        InputError: a number of it is NaN or infinite; nothing is written.
    """
    _save(state, folder / OPTIMIZER_FILE)


def load_optimizer(optimizer: Any, network: nn.Layer, folder: Path, sharding: Optional[Sharding] = None) -> None:
    """Puts back what save_optimizer wrote; with a sharding, of what this process owns."""
    _create_moments(optimizer, network, sharding)
    names = {name: parameter.name for name, parameter in network.named_parameters()}
    state = {}
    for key, value in load_file(folder / OPTIMIZER_FILE).items():
        parameter, _, kind = key.rpartition("/")
        if sharding is None or sharding.owns(parameter):
            state[f"{names[parameter]}_{kind}_0"] = paddle.to_tensor(value)
    optimizer.set_state_dict(state)


def _create_moments(optimizer: Any, network: nn.Layer, sharding: Optional[Sharding]) -> None:
    """Makes the moments of all parameters (of a sharding, of this process's), zeros where there were none.

    Paddle makes them at a parameter's first gradient. Of a parameter that has had none, such as the head of a task not
    drawn yet, it then demands moments from what was loaded; and what was loaded and not used yet it does not save.
    """
    block = paddle.static.default_main_program().global_block()
    trained = {name: each for name, each in network.named_parameters() if not each.stop_gradient}
    optimizer._create_accumulators(block, [w for name, w in trained.items() if sharding is None or sharding.owns(name)])


def scaler_numbers(scaler: Any) -> dict[str, Any]:
    """The state of a loss scaler as JSON can hold it; empty for one that is switched off."""
    state = scaler.state_dict()
    return {**state, "scale": np.asarray(state["scale"]).tolist()} if state else {}


def _save(tensors: Mapping[str, Union[Tensor, Array]], file: Path) -> None:
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    bad = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    if bad:
        raise InputError(
            f"{len(bad)} of the numbers to be saved are NaN or infinite, first {bad[0]}, and were not saved. The "
            "checkpoint before is whole. Lower optim.learning_rate, or raise optim.warmup_ratio, in a run with another "
            "output_dir."
        )
    save_file(arrays, file)

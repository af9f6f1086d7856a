"""Token embeddings of which a stage trains the rows that its data uses.

Most weights of a small student are token embeddings, and most of their rows are of tokens that no text of a task has.
Such a row gets no gradient, so that AdamW leaves its moments at 0, and all that happens to it is the decay, a factor a
step. The rows in use are therefore trained as a table of their own, by the same optimizer, and the others get the
product of the factors when the stage ends: all come out as the whole table would have, within rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ernie_tiny.batch import Array, Feature
from ernie_tiny.models.multitask import MultiTaskModel

ROW_OF_ID = "row_of_id"  # the name of a buffer
LARGEST_PART = 0.5  # of the rows: with more of them in use the whole table is trained


class UsedRows(nn.Layer):
    """Rows of an embedding as an embedding that is asked in the same ids.

    Args:
        whole: What the rows are of. It keeps its weights until `whole_again`.
        ids: Rising, the rows.
    """

    def __init__(self, whole: nn.Embedding, ids: Array) -> None:
        super().__init__()
        self._whole = [whole]  # as a sublayer its weights would be trained
        rows, width = whole.weight.shape
        self.weight = self.create_parameter(
            [len(ids), width], default_initializer=nn.initializer.Assign(whole.weight.numpy()[ids])
        )
        row_of_id = np.full(rows, -1, np.int64)
        row_of_id[ids] = np.arange(len(ids))
        self.register_buffer(ROW_OF_ID, paddle.to_tensor(row_of_id))
        self.register_buffer("decay", paddle.ones([1], "float64"))  # of the other rows; saved with the weights
        padding: Any = whole._padding_idx
        self._padding = None if padding is None else int(row_of_id[padding])

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 [inputs, length] to [inputs, length, width].

        Raises:
            ValueError: an id is not in use. (Paddle would read what lies beside the table.)
        """
        rows = self.row_of_id.numpy()[input_ids.numpy()]
        if rows.min(initial=0) < 0:
            raise ValueError(
                f"the token {int(input_ids.numpy()[rows < 0][0])} is not among those that the stage trains"
            )
        return F.embedding(paddle.to_tensor(rows), self.weight, self._padding)

    def decay_others(self, factor: float) -> None:
        """Notes what a step multiplies the rows by that are not in use."""
        self.decay.set_value(self.decay * factor)

    def whole_again(self) -> nn.Embedding:
        """The embedding with all its rows as they are now."""
        (whole,) = self._whole
        table = whole.weight.numpy() * float(self.decay)
        table[self.row_of_id.numpy() >= 0] = self.weight.numpy()  # both rising
        whole.weight.set_value(table.astype("float32"))
        return whole


def used_ids(features: Iterable[Feature], pad_id: int, rows: int) -> Array:
    """The token ids below `rows` that inputs have, rising, with that of padding."""
    used = np.zeros(rows, bool)
    used[pad_id] = True
    for feature in features:
        for ids, _ in feature.sequences:
            used[ids] = True
    return np.flatnonzero(used)


def train_used_rows(model: MultiTaskModel, ids: Array) -> Optional[UsedRows]:
    """Has a model train these rows of its token embeddings, in place, until `train_all_rows`.

    None, and nothing is changed, elsewhere than on a CPU, where it was not measured; with a head for masked tokens,
    which reads all rows; or where more than LARGEST_PART of the rows are in use.
    """
    embeddings: Any = model.encoder.embeddings
    whole = embeddings.word_embeddings
    if not whole.weight.place.is_cpu_place() or model.masked_token_head is not None:
        return None
    if len(ids) > LARGEST_PART * whole.weight.shape[0]:
        return None
    embeddings.word_embeddings = UsedRows(whole, ids)
    return embeddings.word_embeddings


def train_all_rows(model: MultiTaskModel) -> None:
    """Puts all rows back as they are now."""
    embeddings: Any = model.encoder.embeddings
    if isinstance(embeddings.word_embeddings, UsedRows):
        embeddings.word_embeddings = embeddings.word_embeddings.whole_again()

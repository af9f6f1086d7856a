"""A frozen model's signals as a network of plain tensors: what an inference engine runs in place of a live teacher."""

from __future__ import annotations

from paddle import Tensor, nn

from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest, Signals, TokenSignal


class SignalNetwork(nn.Layer):
    """The token signals of a request and, where logits are asked for, what the heads read.

    The heads themselves stay outside, so that one network serves all of them.

    Attributes:
        outputs: Names of what forward returns, each tensor once: an engine gives one that stands there twice once or
            not at all.
        length_axes: Of each of them which axis is the tokens'; None where none is.
        read_by_heads: Which of them are the sequence and the pooled output; nothing where no logits are asked for.
    """

    def __init__(self, model: MultiTaskModel, request: SignalRequest) -> None:
        super().__init__()
        self.model, self.request = model, request
        last = TokenSignal("hidden", model.num_layers - 1)
        ends_with_a_norm = getattr(model.encoder.encoder, "norm", None) is not None
        same = last in request.token_signals and not ends_with_a_norm
        self.read_by_heads = (str(last) if same else "sequence", "pooled") if request.logits else ()
        self.outputs = tuple(dict.fromkeys([*map(str, request.token_signals), *self.read_by_heads]))
        self.length_axes = {name: None if name == "pooled" else 1 for name in self.outputs}

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """int64 [rows, length] three times to one tensor for each of `outputs`."""
        signals = Signals(attention_mask)
        sequence, pooled = self.model.encode(input_ids, token_type_ids, self.request, signals)
        found = [signal.of(signals) for signal in self.request.token_signals]
        if "sequence" in self.outputs:
            found.append(sequence)
        if "pooled" in self.outputs:
            found.append(pooled)
        if not self._reads_mask:  # an input that nothing depends on cannot be exported
            found[0] = found[0] + (attention_mask * 0).unsqueeze(-1).astype(found[0].dtype)
        return found

    @property
    def _reads_mask(self) -> bool:
        """Whether some attention is computed: not below the first layer's projections."""
        return self.request.logits or self.request.last_layer > 0 or 0 in self.request.hidden

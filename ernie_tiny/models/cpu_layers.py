"""Linear layers, norms and attention for training on a CPU, where Paddle's own take many times what their maths costs.

The results are Paddle's within rounding. Elsewhere, and while a static graph is made, the layers are Paddle's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer


def use_cpu_layers(network: nn.Layer) -> None:
    """Has a network's layers compute as this module does, in place: weights, names and hooks stay."""
    for layer in network.sublayers(include_self=True):
        form = FORMS.get(type(layer))
        if form is not None:
            layer.__class__ = form  # a wrapper would hide the layer from hooks and change the weights' names


def add_bias(values: Tensor, bias: Tensor) -> Tensor:
    """[..., width] and [width] to their sum."""
    total: Tensor = _apply(_Biased, values, bias) if _is_float_on_cpu(values) else values + bias
    return total


def _is_float_on_cpu(values: Tensor) -> bool:
    return paddle.in_dynamic_mode() and values.dtype == paddle.float32 and values.place.is_cpu_place()


def _apply(function: type[PyLayer], *arguments: Any) -> Tensor:
    found: Tensor = function.apply(*arguments)
    return found


def _sum_of_rows(values: Tensor) -> Tensor:
    """[rows, width] to [width]: a product with ones, since a sum over rows takes some 50 times as long."""
    return paddle.matmul(paddle.ones([1, values.shape[0]]), values).reshape([-1])


# ---- linear layers


class _Biased(PyLayer):
    @staticmethod
    def forward(ctx: Any, values: Tensor, bias: Tensor) -> Tensor:
        return values + bias

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, _sum_of_rows(gradient.reshape([-1, gradient.shape[-1]]))


class _Linear(PyLayer):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        flat = values.reshape([-1, weight.shape[0]])
        ctx.save_for_backward(flat, weight)
        return paddle.addmm(bias, flat, weight).reshape([*values.shape[:-1], weight.shape[1]])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat, weight = ctx.saved_tensor()
        rows = gradient.reshape([-1, weight.shape[1]])
        below = paddle.matmul(rows, weight, transpose_y=True).reshape([*gradient.shape[:-1], weight.shape[0]])
        return below, paddle.matmul(flat, rows, transpose_x=True), _sum_of_rows(rows)


class CpuLinear(nn.Linear):
    """nn.Linear, whose gradient of the bias is a product."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        if self.bias is None or not _is_float_on_cpu(input):
            return super().forward(input)
        return _apply(_Linear, input, self.weight, self.bias)


# ---- norms


class _LayerNorm(PyLayer):
    """The norm over the last axis (Ba et al., arXiv 1607.06450), and its gradient in products of matrices.

    With n the normalised values, g the gradient of the output and w the weights, that of the input is
    (g w - mean(g w) - n mean(g w n)) / deviation. What multiplies or adds a number a row is an outer product: Paddle's
    broadcasts take several times as long.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        ctx.epsilon = epsilon
        ctx.save_for_backward(values, weight)
        return F.layer_norm(values, weight.shape, weight, bias, epsilon)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values, weight = ctx.saved_tensor()
        width, (rows,) = weight.shape[0], [values.size // weight.shape[0]]
        values, found = values.reshape([rows, width]), gradient.reshape([rows, width])
        normed = F.layer_norm(values, [width], epsilon=ctx.epsilon)
        mean, ones = paddle.full([width, 1], 1 / width), paddle.ones([1, width])
        # The covariance of values and normed is variance / sqrt(variance + epsilon), which is solved for the variance.
        covariance = paddle.matmul(values * normed, mean) - paddle.matmul(values, mean) * paddle.matmul(normed, mean)
        square = covariance.square()
        variance = (square + (square * (square + 4 * ctx.epsilon)).sqrt()) / 2
        scale = (variance + ctx.epsilon).rsqrt()
        along = found * normed
        weight_mean = (weight / width).unsqueeze(1)
        below = paddle.matmul(scale, weight.unsqueeze(0)).multiply_(found)
        below.subtract_(paddle.matmul(scale * paddle.matmul(along, weight_mean), ones).multiply_(normed))
        below = paddle.addmm(below, scale * paddle.matmul(found, weight_mean), ones, alpha=-1.0)
        return below.reshape(gradient.shape), _sum_of_rows(along), _sum_of_rows(found)


class CpuLayerNorm(nn.LayerNorm):
    """nn.LayerNorm over the last axis, whose gradient is made of products."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., width] to the same."""
        whole = self.weight is not None and self.bias is not None and len(self._normalized_shape) == 1
        if not (whole and _is_float_on_cpu(input)):
            return super().forward(input)
        return _apply(_LayerNorm, input, self.weight, self.bias, self._epsilon)


# ---- attention


class CpuAttention(nn.MultiHeadAttention):
    """nn.MultiHeadAttention that adds its mask to the scores in one shape, without a broadcast."""

    def forward(
        self,
        query: Tensor,
        key: Optional[Tensor] = None,
        value: Optional[Tensor] = None,
        attn_mask: Optional[Tensor] = None,
        cache: Any = None,
    ) -> Any:
        """[rows, length, width] three times, and an additive mask [rows, 1, 1, length] or None, to the first's shape.

        Other masks, a decoder's cache and a request for the weights are Paddle's own to answer.
        """
        spread = attn_mask
        if cache is None and attn_mask is not None and _is_float_on_cpu(attn_mask) and _is_of_keys(attn_mask):
            rows, queries, keys = query.shape[0], query.shape[1], attn_mask.shape[-1]
            every = paddle.ones([rows, self.num_heads * queries, 1])
            spread = paddle.matmul(every, attn_mask.reshape([rows, 1, keys]))
            spread = spread.reshape([rows, self.num_heads, queries, keys])
        return super().forward(query, key, value, spread, cache)


def _is_of_keys(mask: Tensor) -> bool:
    return mask.ndim == 4 and mask.shape[1:3] == [1, 1]


FORMS: Mapping[type[nn.Layer], type[nn.Layer]] = MappingProxyType(
    {nn.Linear: CpuLinear, nn.LayerNorm: CpuLayerNorm, nn.MultiHeadAttention: CpuAttention}
)

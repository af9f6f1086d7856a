"""Layers for training on a CPU, where some of Paddle's own take many times what their maths costs.

The results are Paddle's within rounding, and the zeros of dropout others. Elsewhere, and while a static graph is made,
the layers are Paddle's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Optional

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer

Gradients = Any  # one of each tensor that the forward pass took, None where none is wanted: Paddle's types have no None
DRAWS = 2**16  # a draw has 16 bits: a quarter of what a generator gives at a time


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


def _frozen(*tensors: Tensor) -> tuple[bool, ...]:
    """Of which no gradient is wanted: Paddle takes none but None for them."""
    return tuple(bool(one.stop_gradient) for one in tensors)


def _sum_of_rows(values: Tensor) -> Tensor:
    """[rows, width] to [width]: a product with ones, since a sum over rows takes some 50 times as long."""
    return paddle.matmul(paddle.ones([1, values.shape[0]]), values).reshape([-1])


# ---- linear layers


class _Biased(PyLayer):
    @staticmethod
    def forward(ctx: Any, values: Tensor, bias: Tensor) -> Tensor:
        ctx.frozen = _frozen(values, bias)
        return values + bias

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        values, bias = ctx.frozen
        return (
            None if values else gradient,
            None if bias else _sum_of_rows(gradient.reshape([-1, gradient.shape[-1]])),
        )


class _Linear(PyLayer):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        flat = values.reshape([-1, weight.shape[0]])
        ctx.frozen = _frozen(values, weight, bias)
        ctx.save_for_backward(flat, weight)
        return paddle.addmm(bias, flat, weight).reshape([*values.shape[:-1], weight.shape[1]])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        (flat, weight), (values_frozen, weight_frozen, bias_frozen) = ctx.saved_tensor(), ctx.frozen
        rows, shape = gradient.reshape([-1, weight.shape[1]]), [*gradient.shape[:-1], weight.shape[0]]
        return (
            None if values_frozen else paddle.matmul(rows, weight, transpose_y=True).reshape(shape),
            None if weight_frozen else paddle.matmul(flat, rows, transpose_x=True),
            None if bias_frozen else _sum_of_rows(rows),
        )


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
        ctx.epsilon, ctx.frozen = epsilon, _frozen(values, weight, bias)
        ctx.save_for_backward(values, weight)
        return F.layer_norm(values, weight.shape, weight, bias, epsilon)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
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
        wanted = (below.reshape(gradient.shape), _sum_of_rows(along), _sum_of_rows(found))
        return tuple(None if frozen else one for one, frozen in zip(wanted, ctx.frozen))


class CpuLayerNorm(nn.LayerNorm):
    """nn.LayerNorm over the last axis, whose gradient is made of products."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., width] to the same."""
        whole = self.weight is not None and self.bias is not None and len(self._normalized_shape) == 1
        if not (whole and _is_float_on_cpu(input)):
            return super().forward(input)
        return _apply(_LayerNorm, input, self.weight, self.bias, self._epsilon)


# ---- dropout


def dropout(values: Tensor, probability: float) -> Tensor:
    """The values with a part of them 0 and the others raised, so that the mean stays (Srivastava et al., JMLR 2014).

    One of Paddle's random numbers seeds a generator for each call, which draws 16 bits a value: a probability is taken
    to the nearest 1/65536, and what is kept is divided by what is then the chance to be.

    Args:
        values: float32 of any shape, on a CPU.
        probability: Of a 0, below 1.
    """
    dropped = round(probability * DRAWS)
    seed: Any = paddle.randint(0, 2**31 - 1, [1]).item()
    generator = np.random.Generator(np.random.SFC64(seed))
    draws = generator.integers(0, 2**64 - 1, -(-values.size // 4), dtype=np.uint64, endpoint=True).view(np.uint16)
    kept = (draws[: values.size] >= dropped).reshape(values.shape)
    factors = paddle.to_tensor(np.multiply(kept, np.float32(DRAWS / (DRAWS - dropped)), dtype=np.float32))
    return _apply(_Scaled, values, factors)


class _Scaled(PyLayer):
    """A product that keeps the factors alone for its gradient, not the values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return values * factors

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (factors,) = ctx.saved_tensor()
        scaled: Tensor = gradient * factors
        return scaled


class CpuDropout(nn.Dropout):
    """nn.Dropout by `dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to the same."""
        if not (self.training and 0 < self.p < 1 and self.axis is None and _is_float_on_cpu(input)):
            return super().forward(input)
        return dropout(input, self.p)


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
        plain = cache is None and not self.need_weights and (attn_mask is None or _is_of_keys(attn_mask))
        if key is None or value is None or not (plain and _is_float_on_cpu(query)):
            return super().forward(query, key, value, attn_mask, cache)
        queries, keys, values = self._prepare_qkv(query, key, value)
        scores = paddle.matmul(queries * self.head_dim**-0.5, keys, transpose_y=True)
        if attn_mask is not None:
            rows, heads, length, others = scores.shape
            spread = paddle.matmul(paddle.ones([rows, heads * length, 1]), attn_mask.reshape([rows, 1, others]))
            scores = scores + spread.reshape(scores.shape)
        weights = F.softmax(scores)
        if self.training and self.dropout:
            weights = dropout(weights, self.dropout)
        context = paddle.matmul(weights, values).transpose([0, 2, 1, 3])
        return self.out_proj(context.flatten(2))


def _is_of_keys(mask: Tensor) -> bool:
    return mask.dtype == paddle.float32 and mask.shape[1:-1] == [1, 1]


FORMS: Mapping[type[nn.Layer], type[nn.Layer]] = MappingProxyType(
    {
        nn.Linear: CpuLinear,
        nn.LayerNorm: CpuLayerNorm,
        nn.Dropout: CpuDropout,
        nn.MultiHeadAttention: CpuAttention,
    }
)

"""The same network in fewer passes over memory, for TensorFlow on a processor.

There, a training step is bound by memory rather than by arithmetic: every layer reads and writes
whole feature maps, and layers without a oneDNN kernel do so several times. The layers here share
the variables of the plain Keras layers that they replace and compute the same function, up to
rounding. On accelerators, and with JAX everywhere, the compiler does the same by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lucency import backend, models

keras = models.keras
ops = keras.ops

_SMALL = 4096  # values per image, below which the cost of dropout is negligible
_EQUAL_CHANNELS = "article"  # the network that scales all channels of a grey image the same way


def fused(network: Any, channels: int) -> Any:
    """Return a model from stored pixels to logits that shares the variables of ``network``.

    Args:
        network: A network of ``lucency.models``.
        channels: Channels of the stored images: 1 (grey) or 3.

    Returns:
        A model from (n, height, width, channels) pixel values 0 to 255 to logits (n, units).
    """
    height, width, wanted = network.input_shape[1:]
    plain = keras.Model(network.input, network.get_layer("logits").output, name=network.name)
    pixels = keras.Input((height, width, channels))
    if not backend.waits_for_memory():
        return keras.Model(pixels, plain(models.widened(network, channels)(pixels)))
    x = pixels
    if network.name != _EQUAL_CHANNELS:
        x, channels = models.widened(network, channels)(pixels), wanted
    inputs = keras.Input((height, width, channels))
    clone = keras.models.clone_model(
        plain, input_tensors=inputs, clone_function=_replacement(plain)
    )
    return keras.Model(pixels, clone(x))


def _replacement(network: Any) -> Callable[[Any], Any]:
    """Return a function from a layer of the network to an equivalent layer."""
    pooled = {}
    for layer in network.layers:
        if isinstance(layer, keras.layers.MaxPooling2D):
            before = layer.input._keras_history.operation
            if _can_be_deferred(layer, before):
                pooled[before.name] = pooled[layer.name] = before
    layers = keras.layers

    def replace(layer: Any) -> Any:
        if layer.name in pooled:
            before = pooled[layer.name]
            return _Kernel(layer) if layer is before else _PoolThenActivate(layer, before)
        if isinstance(layer, layers.BatchNormalization) and _has_kernel(layer):
            return _Normalization(layer)
        if isinstance(layer, layers.Dropout) and _is_large(layer):
            return _Dropout(layer)
        return layer

    return replace


def _can_be_deferred(pool: Any, before: Any) -> bool:
    """Return whether bias and ReLU of a convolution can be applied after its pooling."""
    return (
        isinstance(before, keras.layers.Conv2D)
        and before.activation is keras.activations.relu
        and before.use_bias
        and before.groups == 1
        and before.data_format == pool.data_format == "channels_last"
        and len(before._outbound_nodes) == 1
    )


def _has_kernel(norm: Any) -> bool:
    """Return whether oneDNN has a fast kernel: in bfloat16 only for multiples of 16 channels."""
    shape = norm.input.shape
    bfloat16 = norm.compute_dtype == "bfloat16"
    return (
        len(shape) == 4
        and norm.axis in (-1, 3)
        and norm.scale
        and norm.center
        and not norm.renorm
        and not (bfloat16 and shape[-1] % 16)
        and norm.compute_dtype in ("float32", "bfloat16")
    )


def _is_large(dropout: Any) -> bool:
    values = math.prod(size or 0 for size in dropout.input.shape[1:])
    plain = dropout.noise_shape is None and dropout.input.shape[-1] % 2 == 0
    return plain and values >= _SMALL and dropout.rate > 0


class _Shared(keras.layers.Layer):  # type: ignore[misc, name-defined]
    """Replaces a layer and shares its variables."""

    def __init__(self, inner: Any, **kwargs: Any) -> None:
        super().__init__(name=f"fused_{inner.name}", dtype=inner.dtype_policy, **kwargs)
        self.inner = inner
        self.built = True


class _Kernel(_Shared):
    """A convolution without its bias and ReLU, which are applied after the pooling."""

    def call(self, x: Any) -> Any:
        layer, kernel = self.inner, self.inner.kernel
        if x.shape[-1] == 1 < kernel.shape[2]:
            kernel = ops.sum(kernel, axis=2, keepdims=True)  # the same if all channels are equal
        return ops.conv(x, kernel, layer.strides, layer.padding, None, layer.dilation_rate)


class _PoolThenActivate(_Shared):
    """Pooling, then bias and ReLU, which do not change which value is the largest."""

    def __init__(self, pool: Any, convolution: Any) -> None:
        super().__init__(pool)
        self.convolution = convolution

    def call(self, x: Any) -> Any:
        # In float32, because TensorFlow's bias and ReLU in bfloat16 are not vectorised.
        x = ops.cast(self.inner(x), "float32")
        bias = ops.cast(self.convolution.bias, "float32")
        return ops.cast(ops.relu(backend.add_bias(x, bias)), self.compute_dtype)


class _Normalization(_Shared):
    """Batch normalisation by one kernel."""

    def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:  # noqa: ARG002
        norm = self.inner
        training = training and norm.trainable
        x, mean, variance = backend.normalized(
            x,
            norm.gamma,
            norm.beta,
            (norm.moving_mean, norm.moving_variance),
            norm.epsilon,
            training,
        )
        if training:
            for moving, now in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
                moving.assign(moving * norm.momentum + now * (1 - norm.momentum))
        return x


class _Dropout(_Shared):
    """Dropout with 16 random bits per value; the rate is exact to 1/65,536."""

    def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:  # noqa: ARG002
        if not training:
            return x
        shape = ops.shape(x)
        bits = keras.random.randint(
            (*shape[:-1], shape[-1] // 2), -(2**31), 2**31 - 1, "int32", self.inner.seed_generator
        )
        dropped = round(self.inner.rate * 2**16)
        kept = ops.reshape(ops.view(bits, "uint16"), shape) >= ops.cast(dropped, "uint16")
        x = x * ops.cast(1 / (1 - dropped / 2**16), x.dtype)
        return ops.where(kept, x, ops.zeros_like(x))

"""The device's half: augment images with the numbers drawn, on any backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lucency.augmentation.policy import Augmentation
from lucency.backend import load_keras

keras = load_keras()


class Augment(keras.layers.Layer):  # type: ignore[misc, name-defined]
    """Apply a ``Draw`` to images: affine resampling, sharpness, tone curve, rectangles.

    Args:
        policy: The policy that the numbers were drawn from; steps of range 0 cost nothing.
    """

    def __init__(self, policy: Augmentation, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.policy = policy

    def call(self, inputs: Sequence[Any]) -> Any:
        """Return augmented images, float32 (n, height, width, channels), values 0 to 255.

        Args:
            inputs: Pixels (n, height, width, channels) of 0 to 255, then the three arrays of a
                ``Draw``.
        """
        pixels, affine, tone, rectangles = inputs
        x = keras.ops.cast(pixels, "float32") / 255
        if self.policy.moves:
            x = keras.ops.image.affine_transform(
                x, affine, interpolation="bilinear", fill_mode=self.policy.fill, fill_value=0,
                data_format="channels_last",
            )  # fmt: skip
        x = self._with_detail(x, tone)
        x = self._with_tone(x, tone)
        return 255 * self._with_rectangles(x, rectangles)

    def _with_detail(self, x: Any, tone: Any) -> Any:
        if not self.policy.sharpness:
            return x
        mean = keras.ops.average_pool(x, 3, 1, "same", data_format="channels_last")
        return keras.ops.clip(x + tone[:, 3, None, None, None] * (x - mean), 0, 1)

    def _with_tone(self, x: Any, tone: Any) -> Any:
        policy = self.policy
        if not (policy.gamma or policy.gain or policy.offset):
            return x
        gamma, gain, offset = (tone[:, i, None, None, None] for i in range(3))
        if policy.gamma:
            x = keras.ops.power(keras.ops.maximum(x, 1e-6), gamma)
        return keras.ops.clip(x * gain + offset, 0, 1)

    def _with_rectangles(self, x: Any, rectangles: Any) -> Any:
        rows, columns = (
            (keras.ops.arange(x.shape[axis], dtype="float32") + 0.5) / x.shape[axis]
            for axis in (1, 2)
        )
        for k in range(self.policy.rectangles):
            top, left, bottom, right, value = (rectangles[:, k, i, None] for i in range(5))
            inside_rows = keras.ops.logical_and(rows >= top, rows < bottom)[:, :, None, None]
            inside_columns = keras.ops.logical_and(columns >= left, columns < right)[
                :, None, :, None
            ]
            inside = keras.ops.logical_and(inside_rows, inside_columns)
            x = keras.ops.where(inside, value[:, :, None, None], x)
        return x

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        """Return the shape of the pixels, which does not change."""
        return input_shape[0]


def augmented(
    policy: Augmentation, shape: tuple[int, int, int], dtype: str = "uint8"
) -> tuple[list[Any], Any]:
    """Return Keras inputs for pixels and a ``Draw``, and the augmented pixels.

    Args:
        policy: Ranges of the augmentation.
        shape: Height, width and channels of the images.
        dtype: Of their pixels.
    """
    inputs = [
        keras.Input(shape, dtype=dtype, name="pixels"),
        keras.Input((8,), name="affine"),
        keras.Input((4,), name="tone"),
        keras.Input((policy.rectangles, 5), name="rectangles"),
    ]
    return inputs, Augment(policy, name="augment")(inputs)

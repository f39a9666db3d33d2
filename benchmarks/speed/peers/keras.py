"""The same trainings in Keras: the article's own code, and the current way."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def article(keras: Any, folder: Path, side: int, batch: int) -> tuple[Any, Any]:
    """Return the article's network and its generator, which decodes in every epoch."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    augmented = ImageDataGenerator(rescale=1 / 255, zoom_range=0.2, vertical_flip=True)
    images = augmented.flow_from_directory(
        folder, (side, side), class_mode="binary", batch_size=batch
    )
    return _network(keras, side, []), images


def modern(keras: Any, folder: Path, side: int, batch: int) -> tuple[Any, Any]:
    """Return the network with preprocessing layers, and a data set that decodes once.

    As in the Keras guides: ``cache``, ``shuffle``, ``prefetch``.
    """
    layers = keras.layers
    images = keras.utils.image_dataset_from_directory(
        folder, label_mode="binary", image_size=(side, side), batch_size=batch, verbose=False
    )
    images = images.cache().shuffle(1000).prefetch(-1)  # tf.data.AUTOTUNE
    augmentation = [
        layers.RandomFlip("vertical"),
        layers.RandomZoom(0.2, 0.2),
        layers.Rescaling(1 / 255),
    ]
    return _network(keras, side, augmentation), images


def _network(keras: Any, side: int, before: list[Any]) -> Any:
    layers = keras.layers
    network = keras.Sequential([keras.Input((side, side, 3)), *before])
    for dropout in (0, 0.2, 0.2):
        network.add(layers.Conv2D(32, 3, activation="relu"))
        network.add(layers.MaxPooling2D(2))
        network.add(layers.Dropout(dropout))  # a rate of 0 has no effect
    network.add(layers.Flatten())
    network.add(layers.Dropout(0.2))
    network.add(layers.Dense(128, activation="relu"))
    network.add(layers.Dense(1, activation="sigmoid", dtype="float32"))
    return network

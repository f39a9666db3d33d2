"""Learn: a training split and a validation split in, a calibrated classifier out.

    epochs    network, loss, learning rate, whose weights are kept
    settle    what validation settles then: temperature, threshold, sets and gate

The signature of ``train`` is the proof that nothing here can see the test pictures.
"""

from __future__ import annotations

from collections.abc import Callable

from lucency import backend
from lucency.classifier import Classifier, Spec
from lucency.config import Config
from lucency.dataset import Split
from lucency.models import keras
from lucency.plan import make_plan, positive_class
from lucency.progress import SILENT, Progress
from lucency.training.epochs import Epoch, Stopper, build_network, fit, learning_rate
from lucency.training.settle import settle

__all__ = ["Epoch", "Stopper", "learning_rate", "train"]


def train(
    train_split: Split,
    val_split: Split,
    config: Config = Config(),  # noqa: B008 - frozen
    progress: Progress = SILENT,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Classifier:
    """Train a classifier, keep the epoch that the plan says, and settle the rest on validation.

    Args:
        train_split: Pictures to learn from.
        val_split: Pictures to choose temperature, operating point, prediction sets and the limit of
            the out-of-distribution gate by, and the epoch where the plan asks for the best one;
            never varied.
        config: What a person decided; the rest follows from it and the data.
        progress: Hears of every step.
        on_epoch: Called with each row of the history as it is measured.

    Returns:
        The classifier; its ``history`` holds one ``Epoch`` per epoch.

    Raises:
        ConfigError: Choices that do not go together.
    """
    plan = make_plan(train_split, config)
    positive = positive_class(train_split.classes, config.positive)
    backend.make_deterministic(plan.seed)
    network = build_network(plan, len(train_split.classes))
    if plan.recipe == "article":  # the tutorial shows what it has built
        network.summary(print_fn=progress.note, line_length=80)
    progress.note("The first step compiles the network and takes longer than the others.")
    history, best, best_epoch = fit(network, plan, train_split, val_split, progress, on_epoch)
    for variable, value in zip(network.weights, best, strict=True):
        variable.assign(value)
    spec = Spec(
        classes=train_split.classes,
        positive=positive,
        size=plan.size,
        channels=plan.channels,
        architecture=plan.architecture,
        network_channels=plan.network_channels,
        parameters={k: v for k, v in plan.parameters.items() if k != "weights"},
        versions=backend.environment(),
    )
    weights = {variable.path: keras.ops.convert_to_numpy(variable) for variable in network.weights}
    classifier = Classifier(spec, weights)
    settle(classifier, plan, config, (train_split, val_split), progress)
    classifier.history, classifier.best_epoch = tuple(history), best_epoch
    return classifier

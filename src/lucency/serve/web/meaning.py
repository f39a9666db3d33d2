"""The meaning of a probability, in words that hold wherever they are read."""

from __future__ import annotations

from lucency.classifier import Classifier


def prevalence(classifier: Classifier) -> float | None:
    """Return the prevalence that the probabilities assume; ``None`` without a positive class."""
    if classifier.positive is None:
        return None
    place = classifier.classes.index(classifier.positive)
    shares = classifier.spec.class_prior or (1 / len(classifier.classes),) * len(classifier.classes)
    return float(shares[place])


def meaning(classifier: Classifier) -> str:
    """Return what a probability of 80 % means, and under which conditions."""
    if rule := classifier.value:
        return (
            f"The prediction is the mean of a distribution of {rule.name}. The report states how "
            "far predictions were from the true values in the evaluation, and how often these "
            "were in the prediction interval."
        )
    if classifier.spec.labels:
        return (
            "Of 100 images with a probability of 80 % for a label, about 80 have it, if labels are "
            "as frequent as in training and the calibration holds for your images. The report "
            "states how well calibrated the probabilities of each label were in the evaluation."
        )
    assumed = prevalence(classifier)
    if classifier.positive is None or assumed is None:
        return (
            "Of 100 images with a probability of 80 % for a class, about 80 belong to it, if the "
            "classes are as frequent as the probabilities assume and the calibration holds for "
            "your images."
        )
    return (
        f"Of 100 images with a probability of 80 %, about 80 show {classifier.positive}, if "
        f"{100 * assumed:.3g} % of all images do and the calibration holds for your images. The "
        "report states how well calibrated the probabilities were in the evaluation."
    )

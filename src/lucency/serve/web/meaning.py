"""What a probability means, in words that hold wherever they are read."""

from __future__ import annotations

from lucency.classifier import Classifier


def prevalence(classifier: Classifier) -> float | None:
    """Return the share of the positive class that the probabilities assume; of two classes."""
    if classifier.positive is None:
        return None
    place = classifier.classes.index(classifier.positive)
    shares = classifier.spec.class_prior or (1 / len(classifier.classes),) * len(classifier.classes)
    return float(shares[place])


def meaning(classifier: Classifier) -> str:
    """Return what a probability of 80 % means, and where it does."""
    share = prevalence(classifier)
    if classifier.positive is None or share is None:
        return (
            "Of 100 images given 80 % for a class, about 80 are of it, where the classes are as "
            "frequent as the probabilities assume, and as far as the probabilities hold on "
            "images like yours."
        )
    where = f"where {100 * share:.3g} % of all images do"
    return (
        f"Of 100 images given 80 %, about 80 show {classifier.positive}, {where}, and as far as "
        "the probabilities hold on images like yours: the report says how well they did on those "
        "it was tested with."
    )

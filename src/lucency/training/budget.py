"""Decide what a time budget buys: the network, the side of its input and the number of epochs.

The networks are those of the levels ``quick`` and ``standard``; ``thorough`` has folds, and a time
is spent on one network. The larger one is taken if its training fits, and the number of epochs
fills the time. The choice is a pure function of the speeds that were measured; what a setting fixes
stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lucency.config import Config
from lucency.errors import ConfigError
from lucency.training.plan import Choice, Plan, default_epochs

_LEVELS = ("quick", "standard")
_USED = 0.93  # of the time that is left; the rest is a reserve
_FEWEST_EPOCHS = 3
_WORTH = 0.5  # share of a level's epochs below which the level before it is better
_MOST = 2.0  # times a level's epochs, beyond which training longer is of no use
_FASTER = 1.5  # times the speed that the number of pixels predicts, at most
_MEASURING = 3.0  # seconds besides compiling

# Measured on two processors, idle and busy, with 400 to 600 images and the levels quick and
# thorough. What Python and the compiler do is counted in times that compiling the network took,
# predictions in times that training on an image takes.
_CHECKS = 3.5
_CALIBRATED, _EVALUATED = 2.4, 2.0
_CORRUPTION = 0.001  # for each corrupted image
_VALIDATION, _PREDICTION = 0.3, 0.2
_MAPS = 4500  # predictions that the tests of the activation maps take
_CORRUPTIONS = {"standard": 15, "all": 37}  # predictions of each test image
_MOST_CORRUPTED = 400  # test images


@dataclass(frozen=True)
class Speed:
    """The speed of training.

    Attributes:
        images_per_second: Training images, once the network is compiled.
        ready: Seconds to build and compile the network.
    """

    images_per_second: float
    ready: float


@dataclass(frozen=True)
class Images:
    """Numbers of images.

    Attributes:
        train: Images to train on.
        val: Images to calibrate on.
        test: Images to evaluate on; those of ``val`` where there are none.
        evaluated: Whether training is followed by everything else that a run consists of.
    """

    train: int
    val: int
    test: int
    evaluated: bool = True


@dataclass(frozen=True)
class Offer:
    """A training that could be bought.

    Attributes:
        config: Settings, with a level as effort.
        speed: As measured.
    """

    config: Config
    speed: Speed


@dataclass(frozen=True)
class Bought:
    """What a time budget buys.

    Attributes:
        config: Settings, with a level as effort and the epochs.
        offers: Everything that was measured, in the order of the levels.
        complete: Whether training for longer would be of no use.
    """

    config: Config
    offers: tuple[Offer, ...]
    complete: bool

    def to_json(self) -> dict[str, Any]:
        """Return the decision and what it rests on."""
        rows = [
            {
                "effort": offer.config.effort,
                "size": offer.config.input_size[0],
                "images_per_second": round(offer.speed.images_per_second, 2),
                "ready": round(offer.speed.ready, 2),
            }
            for offer in self.offers
        ]
        return {
            "effort": self.config.effort, "epochs": self.config.epochs, "complete": self.complete,
            "measured": rows,
        }  # fmt: skip

    @classmethod
    def from_json(cls, document: Mapping[str, Any], config: Config) -> Bought:
        """Return a decision that was stored for a run with this configuration.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        offers = tuple(
            Offer(
                dataclasses.replace(config, effort=row["effort"]),
                Speed(float(row["images_per_second"]), float(row["ready"])),
            )
            for row in document["measured"]
        )
        epochs = int(document["epochs"])
        bought = dataclasses.replace(config, effort=document["effort"], epochs=epochs)
        return cls(bought, offers, bool(document["complete"]))


def buy(
    config: Config,
    images: Images,
    left: Callable[[], float],
    measure: Callable[[Config], Speed],
    reading: float = 0.0,
) -> Bought:
    """Measure one level after the other while the next may fit, and choose.

    Args:
        config: With a time as effort.
        images: Numbers of images, or estimates.
        left: Returns the seconds that are left of the budget.
        measure: Returns the speed of training with given settings.
        reading: Seconds that reading the images will take.

    Raises:
        ConfigError: Not even the smallest training fits.
    """
    offers: list[Offer] = []
    for candidate in _candidates(config):
        if offers:
            expected = Offer(candidate, _expected(offers[-1], candidate))
            rest = left() - reading - expected.speed.ready - _MEASURING
            if not _is_worth(expected, images, rest):
                break
        offers.append(Offer(candidate, measure(candidate)))
    checks = _CHECKS * offers[0].speed.ready if images.evaluated else 0.0
    return choose(left() - reading - checks, offers, images, config)


def choose(left: float, offers: Sequence[Offer], images: Images, config: Config) -> Bought:
    """Return the largest training that fits.

    Args:
        left: Seconds for training and everything after it.
        offers: What was measured, in the order of the levels.
        images: Numbers of images.
        config: With a time as effort.

    Raises:
        ConfigError: Not even the smallest training fits.
    """
    worth = [offer for offer in offers if _is_worth(offer, images, left)]
    chosen = worth[-1] if worth else offers[0]
    fewest = config.epochs or _FEWEST_EPOCHS
    if _affordable(chosen, images, left) < fewest:
        short = _seconds(chosen, images, fewest) / _USED - left + (config.seconds or 0)
        fixed = f" with epochs={config.epochs}" if config.epochs else ""
        raise ConfigError(
            f"--effort {config.effort} is too short for these images on this machine: the "
            f"shortest training{fixed} takes about {_words(short)}. Give at least that, or "
            "--effort quick."
        )
    return fill(Bought(chosen.config, tuple(offers), False), left, images, config)


def fill(bought: Bought, left: float, images: Images, config: Config) -> Bought:
    """Return the same with as many epochs as fit into the seconds that are left.

    Args:
        bought: What was chosen.
        left: Seconds for training and everything after it.
        images: Numbers of images.
        config: With a time as effort; its epochs are kept where they are set.
    """
    offer = next(x for x in bought.offers if x.config.effort == bought.config.effort)
    most = round(_MOST * _epochs(offer, images))
    if config.recipe == "article":  # it stops by itself
        most = _epochs(offer, images)
    last = offer.config.effort == _candidates(config)[-1].effort
    affordable = int(max(_affordable(offer, images, left), _FEWEST_EPOCHS))
    epochs = config.epochs or (min(affordable, most) if last else affordable)
    complete = not config.epochs and last and affordable > most
    return dataclasses.replace(
        bought, config=dataclasses.replace(offer.config, epochs=epochs), complete=complete
    )


def described(plan: Plan, bought: Bought, config: Config) -> Plan:
    """Return the plan with what the time has bought in words.

    Args:
        plan: Made from ``bought.config``, perhaps with another number of epochs.
        bought: What was chosen.
        config: With a time as effort.
    """
    epochs = bought.config.epochs or plan.epochs
    speeds = ", ".join(
        f"{offer.speed.images_per_second:,.0f} images/s with --effort {offer.config.effort} "
        f"({plan.size[0] if len(bought.offers) == 1 else offer.config.input_size[0]} px)"
        for offer in bought.offers
    )
    more = "; more would not help, so the command ends early" if bought.complete else ""
    time = Choice(
        "time budget",
        str(config.effort),
        f"on this machine it buys {epochs} epochs with --effort {bought.config.effort}{more}; "
        f"measured {speeds}. The same training again: --effort {bought.config.effort} "
        f"--set epochs={epochs} --folds 0",
    )
    reasons = {"network": f"as with --effort {bought.config.effort}"}
    if not config.epochs:
        reasons["epochs"] = "as many as fit into the time budget"
    kept = [
        dataclasses.replace(
            choice,
            value=str(epochs) if choice.name == "epochs" else choice.value,
            reason=reasons.get(choice.name, choice.reason),
        )
        for choice in plan.choices
    ]
    return dataclasses.replace(plan, effort=config.effort, epochs=epochs, choices=(time, *kept))


def _candidates(config: Config) -> list[Config]:
    """Return the settings of each level, smallest first; one per network."""
    if config.recipe == "article" or config.backbone:
        return [dataclasses.replace(config, effort="standard")]
    levels = [dataclasses.replace(config, effort=level) for level in _LEVELS]
    return [*{each.input_size: each for each in levels}.values()]


def _expected(offer: Offer, candidate: Config) -> Speed:
    """Return the most that can be hoped of a level that is not measured yet."""
    pixels = (candidate.input_size[0] / offer.config.input_size[0]) ** 2
    return Speed(_FASTER * offer.speed.images_per_second / pixels, offer.speed.ready)


def _is_worth(offer: Offer, images: Images, left: float) -> bool:
    if offer.config.epochs:
        return _affordable(offer, images, left) >= offer.config.epochs
    return _affordable(offer, images, left) >= _WORTH * _epochs(offer, images)


def _epochs(offer: Offer, images: Images) -> int:
    """Return the epochs that the level has without a time budget."""
    return default_epochs(offer.config, images.train)


def _affordable(offer: Offer, images: Images, left: float) -> float:
    """Return how many epochs fit into the seconds that are left."""
    return (_USED * left - _seconds(offer, images, 0)) / _epoch_seconds(offer, images)


def _epoch_seconds(offer: Offer, images: Images) -> float:
    return (images.train + _VALIDATION * images.val) / offer.speed.images_per_second


def _seconds(offer: Offer, images: Images, epochs: int) -> float:
    """Return the expected time of training and everything after it."""
    speed = offer.speed
    predicted = 5 * images.val + min(2000, images.train)
    fixed = _CALIBRATED * speed.ready
    if images.evaluated:
        tested = min(_MOST_CORRUPTED, images.test or images.val)
        corrupted = _CORRUPTIONS[offer.config.corruption_set] * tested
        predicted += 2 * images.test + corrupted + _MAPS
        fixed += (_EVALUATED + _CORRUPTION * corrupted) * speed.ready
    after = fixed + _PREDICTION * predicted / speed.images_per_second
    return after + epochs * _epoch_seconds(offer, images)


def _words(seconds: float) -> str:
    """Return a time as it can be given as effort, rounded up."""
    if seconds < 90:
        return f"{max(1, round(seconds / 10 + 0.5)) * 10}s"
    minutes = int(seconds // 60) + 1
    return f"{minutes}min" if minutes < 60 else f"{minutes // 60}h{minutes % 60}min"

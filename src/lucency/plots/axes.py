"""SVG elements, escaped text, ticks, and a pair of axes."""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

INK = "var(--ink, #1b2026)"
MUTED = "var(--muted, #59636e)"
GRID = "var(--grid, #e4e8eb)"
PAPER = "var(--paper, #ffffff)"
HEAT = "var(--heat, #0072b2)"
WARN = "var(--bad, #b3261e)"
# Okabe and Ito (2008), ordered so that neighbours differ in lightness too.
_OKABE_ITO = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#e69f00", "#56b4e9", "#b8a900", "#6b6b6b"),
)
SERIES = tuple(f"var(--series-{i}, {colour})" for i, colour in enumerate(_OKABE_ITO, start=1))
DASHES = ("", "6 4", "2 3", "9 3 2 3")

THIN = "\u202f"  # narrow space that does not break, between a number and its unit

Values = Sequence[float | None]
Tick = tuple[float, str]

_FONT = "var(--sans, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif)"
_INVISIBLE = {"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"}


def visible(text: str) -> str:
    r"""Return ``text`` with invisible characters escaped (``\n``, ``\u202e``).

    Control, direction and unpaired surrogate characters can hide or reverse the text around them,
    and unpaired surrogates cannot be encoded as UTF-8; file names may contain any of them.
    """
    if text.isprintable():  # nearly always true, and fast for long texts such as images
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _INVISIBLE
        else character
        for character in text
    )


def shorten(text: str, limit: int) -> str:
    """Return visible ``text`` truncated to ``limit`` characters, with an ellipsis."""
    shown = visible(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def number(value: float, decimals: int = 1) -> str:
    """Return ``value`` with at most ``decimals`` decimals and no trailing zeros."""
    written = f"{value:.{decimals}f}"
    written = written.rstrip("0").rstrip(".") if "." in written else written
    return "0" if written == "-0" else written


def tag(name: str, content: str = "", /, **attributes: str | float | None) -> str:
    """Return an element: ``content`` is markup, attribute values are escaped, None is omitted."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _attribute(value: str | float) -> str:
    return html.escape(visible(value)) if isinstance(value, str) else number(value, 2)


def hint(text: str) -> str:
    """Return a ``<title>``: the tooltip and the text alternative of its parent."""
    return tag("title", html.escape(visible(text)))


def label(x: float, y: float, text: str, *, limit: int = 60, **attributes: str | float) -> str:
    """Return escaped text at (x, y); one over ``limit`` characters is cut and gets a hint."""
    shown = shorten(text, limit)
    whole = hint(text) if shown != visible(text) else ""
    style: dict[str, str | float] = {"x": x, "y": y, "fill": MUTED, "font_size": 12, **attributes}
    return tag("text", html.escape(shown) + whole, **style)


def text_width(text: str, size: float = 12) -> float:
    """Estimate the width of ``text`` in pixels, without a font."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return size * (0.58 * (len(text) - wide) + wide)


def percent(share: float, n: int) -> str:
    """Return a share as a percentage, with one decimal where ``n`` is 100 or more."""
    return f"{100 * share:.{1 if n >= 100 else 0}f}{THIN}%"


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten in [low, high], about ``count``.

    Args:
        low: lower end, finite.
        high: upper end, finite; where it is not above ``low``, the result is ``[low]``.
        count: most steps between ticks.
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def tick_label(value: float) -> str:
    """Return the shortest text of a tick: 0.25, 10, 2e-5."""
    return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e")


def svg(width: float, height: float, title: str, description: str, marks: Iterable[str]) -> str:
    """Return a scalable drawing with a title and a description for screen readers."""
    head = hint(title) + tag("desc", html.escape(visible(description)))
    return tag(
        "svg",
        head + "".join(marks),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=number(width),
        height=number(height),
        role="img",
        font_family=_FONT,
    )


@dataclass(frozen=True)
class Key:
    """One entry of a legend: ``mark`` is ``line``, ``band``, ``dot``, ``ring`` or ``diamond``."""

    text: str
    colour: str
    dash: str = ""
    mark: str = "line"

    def drawn(self, x: float, y: float) -> str:
        """Return the mark and its text, from x on, with the baseline of the text at y."""
        text = label(x + 26, y, self.text, limit=30)
        if self.mark == "band":
            return box(x, y - 9, 20, 10, fill=self.colour, fill_opacity=0.22) + text
        if self.mark == "line":
            return stroke([(x, y - 4), (x + 20, y - 4)], self.colour, self.dash) + text
        if self.mark == "diamond":
            return diamond(x + 10, y - 4, self.colour) + text
        return dot(x + 10, y - 4, self.colour, hollow=self.mark == "ring") + text


def stroke(
    points: Iterable[tuple[float, float]], colour: str, dash: str = "", width: float = 2
) -> str:
    """Return one line through points in pixels."""
    path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return tag(
        "path",
        d=f"M{path}",
        fill="none",
        stroke=colour,
        stroke_width=width,
        stroke_dasharray=dash or None,
        stroke_linejoin="round",
    )


def box(x: float, y: float, width: float, height: float, **style: str | float) -> str:
    """Return a rectangle in pixels, its upper left corner at (x, y)."""
    return tag("rect", **{"x": x, "y": y, "width": width, "height": height, **style})


def dot(x: float, y: float, colour: str, *, hollow: bool = False, text: str = "") -> str:
    """Return a round mark in pixels, filled or as a ring, with a hint where ``text`` is given."""
    words, fill = hint(text) if text else "", PAPER if hollow else colour
    return tag("circle", words, cx=x, cy=y, r=4.2, fill=fill, stroke=colour, stroke_width=1.8)


def diamond(x: float, y: float, colour: str, text: str = "") -> str:
    """Return a hollow diamond in pixels, with a hint where ``text`` is given."""
    corners = ((x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y))
    path = "L".join(f"{number(a)} {number(b)}" for a, b in corners)
    words = hint(text) if text else ""
    return tag("path", words, d=f"M{path}Z", fill=PAPER, stroke=colour, stroke_width=1.6)


@dataclass
class Axes:
    """One rectangle with two linear scales; marks are added in data units.

    ``x_ticks`` and ``y_ticks`` are (position, text) pairs; None means round numbers.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str = ""
    y_label: str = ""
    legend: Sequence[Key] = ()
    size: tuple[float, float] = (340, 260)
    x_ticks: Sequence[Tick] | None = None
    y_ticks: Sequence[Tick] | None = None
    marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Reserve space for tick labels and legend."""
        self._x_ticks = _labelled(self.x_ticks, self.x)
        self._y_ticks = _labelled(self.y_ticks, self.y)
        widest = max((text_width(shorten(text, 24)) for _, text in self._y_ticks), default=0)
        self.left = widest + (32 if self.y_label else 12)
        last = max((text_width(text) / 2 for _, text in self._x_ticks[-1:]), default=0)
        self.right = self.size[0] - max(16, last + 2)
        self._keys = list(self._placed())
        self.top = self._keys[-1][2] + 16 if self._keys else 12
        self.bottom = self.size[1] - (44 if self.x_label else 26)

    def _placed(self) -> Iterator[tuple[Key, float, float]]:
        x, y = self.left, 14.0
        for key in self.legend:
            width = 40 + text_width(shorten(key.text, 30))
            if x > self.left and x + width > self.size[0]:
                x, y = self.left, y + 19
            yield key, x, y
            x += width

    def across(self, x: float) -> float:
        """Return the pixel column of ``x``."""
        return self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left)

    def up(self, y: float) -> float:
        """Return the pixel row of ``y``."""
        return self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top)

    def line(
        self, xs: Values, ys: Values, colour: str, *, dash: str = "", width: float = 2
    ) -> None:
        """Add a line through the points, broken where a value is None or not finite."""
        for run in finite_runs(xs, ys):
            points = [(self.across(x), self.up(y)) for x, y in run]
            self.marks.append(
                stroke(points, colour, dash, width) if len(points) > 1 else dot(*points[0], colour)
            )

    def band(self, xs: Values, low: Values, high: Values, colour: str) -> None:
        """Add a shaded area between two curves, broken where a value is None or not finite."""
        for run in finite_runs(xs, low, high):
            ends = [(x, up) for x, _, up in run] + [(x, down) for x, down, _ in reversed(run)]
            path = "L".join(f"{number(self.across(x))} {number(self.up(y))}" for x, y in ends)
            self.marks.append(tag("path", d=f"M{path}Z", fill=colour, fill_opacity=0.18))

    def point(self, x: float, y: float, colour: str, *, hollow: bool = False, text: str) -> None:
        """Add a round mark with a hint."""
        self.marks.append(dot(self.across(x), self.up(y), colour, hollow=hollow, text=text))

    def drawn(self, title: str, description: str) -> str:
        """Return the drawing: grid and labels below, marks above."""
        keys = [key.drawn(x, y) for key, x, y in self._keys]
        return svg(*self.size, title, description, [*self._frame(), *self.marks, *keys])

    def _frame(self) -> Iterator[str]:
        for value, text in self._y_ticks:
            y = self.up(value)
            yield stroke([(self.left, y), (self.right, y)], GRID, width=1)
            yield label(self.left - 7, y + 4, text, limit=24, text_anchor="end")
        for value, text in self._x_ticks:
            x = self.across(value)
            yield stroke([(x, self.bottom), (x, self.bottom + 4)], MUTED, width=1)
            yield label(x, self.bottom + 18, text, text_anchor="middle")
        yield stroke([(self.left, self.bottom), (self.right, self.bottom)], MUTED, width=1)
        middle = (self.left + self.right) / 2
        yield label(middle, self.size[1] - 6, self.x_label, text_anchor="middle", fill=INK)
        height = (self.top + self.bottom) / 2
        turn = f"rotate(-90 12 {number(height)})"
        yield label(12, height, self.y_label, text_anchor="middle", fill=INK, transform=turn)


def _labelled(ticks: Sequence[Tick] | None, span: tuple[float, float]) -> Sequence[Tick]:
    return [(t, tick_label(t)) for t in nice_ticks(*span)] if ticks is None else ticks


def finite_runs(*columns: Values) -> Iterator[list[tuple[float, ...]]]:
    """Yield the runs of rows in which every value is finite."""
    run: list[tuple[float, ...]] = []
    for row in zip(*columns, strict=True):
        numbers = [float(value) for value in row if value is not None and math.isfinite(value)]
        if len(numbers) == len(row):
            run.append(tuple(numbers))
        elif run:
            yield run
            run = []
    if run:
        yield run

"""The drawings: valid, readable aloud, in the right place, and proof against any text."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from lucency import plots
from lucency.plots.axes import Axes, finite_runs, nice_ticks, number, shorten, tick_label

SVG = "{http://www.w3.org/2000/svg}"
CURVE = {
    "fpr": [0.0, 0.1, 1.0], "tpr": [0.0, 0.8, 1.0],
    "low": [0.0, 0.7, 1.0], "high": [0.2, 0.9, 1.0],
}  # fmt: skip
PR = {
    "recall": [0.0, 0.5, 1.0], "precision": [1.0, 0.9, 0.4],
    "low": [0.9, 0.8, 0.3], "high": [1.0, 1.0, 0.5],
}  # fmt: skip
BINS = [
    {"n": 10, "mean_probability": 0.2, "fraction": 0.1, "low": 0.0, "high": 0.4},
    {"n": 0, "mean_probability": None, "fraction": None, "low": None, "high": None},
]
BENEFIT = {
    "threshold": [0.1, 0.5, 0.9], "model": [0.5, 0.3, -0.4], "low": [0.4, 0.2, -0.9],
    "high": [0.6, 0.4, 0.1], "all": [0.55, 0.0, -3.0],
}  # fmt: skip
RISK = {"coverage": [0.1, 0.5, 1.0], "risk": [0.0, 0.02, 0.08], "low": [0.0, 0.0, 0.05],
        "high": [0.01, 0.04, 0.11]}  # fmt: skip
NASTY = ('"><img src=x onerror=alert(1)>', "</svg><script>", "a\nb\u202e\udc80\0", "x" * 255, "&")


def draw_all(name: str) -> dict[str, str]:
    """Draw every kind of plot with ``name`` wherever a text goes."""
    return {
        "line_curves": plots.line_curves(
            {name: [3.0, None, 1.0], "b": [2.0, 2.0, float("nan")]},
            title=name, y_label=name, best=(3, name),
        ),
        "roc": plots.roc(
            CURVE, title=name, name=name, beside=(name, CURVE), operating_point=(0.1, 0.8, name)
        ),
        "precision_recall": plots.precision_recall(PR, title=name, prevalence=0.4, name=name),
        "reliability": plots.reliability(BINS, title=name, x_label=name, y_label=name),
        "confusion": plots.confusion([[8, 2], [0, 5]], [name, "b"], title=name),
        "score_histograms": plots.score_histograms(
            {name: [0.1, 0.2], "empty": []}, title=name, x_label=name, threshold=0.4
        ),
        "forest": plots.forest(
            [plots.Row(name, [plots.Estimate(0.9, 0.8, 0.95), plots.Estimate(None)], 0.5)],
            splits=[name, "b"], title=name, baseline=name,
        ),
        "predicted_values": plots.predicted_values(
            [1.0, 2.0], [1.5, 1.5], title=name, name=name
        ),
        "agreement": plots.agreement(
            [1.0, 2.0], [1.5, 1.5], title=name, name=name, bias=plots.Estimate(0.0, -0.5, 0.5),
            limits=(plots.Estimate(-1.2), plots.Estimate(None)),
        ),
        "quantile_calibration": plots.quantile_calibration(
            [(0.1, plots.Estimate(0.12, 0.05, 0.2)), (0.9, plots.Estimate(None))], title=name
        ),
        "error_coverage": plots.error_coverage(RISK, title=name, name=name, split=name),
        "value_forest": plots.value_forest(
            [(name, plots.Estimate(2.0, 1.5, 2.5)), ("b", plots.Estimate(None))],
            title=name, name=name, whole=1.8,
        ),
        "lineup": plots.lineup(
            [plots.Line(name, plots.Estimate(0.9, 0.8, 0.95), alarm=True),
             plots.Line("own", plots.Estimate(0.98, 0.9, 1.0), own=True),
             plots.Line("unknown", plots.Estimate(None))],
            title=name, x_label=name, own=name, limits=(0.3, 1.0),
        ),
        "net_benefit": plots.net_benefit(BENEFIT, title=name, name=name, positive=name),
        "predictive_values": plots.predictive_values(
            [0.01, 0.5], {name: [plots.Estimate(0.1, 0.05, 0.2), plots.Estimate(0.9)]},
            title=name, positive=name,
        ),
        "risk_coverage": plots.risk_coverage(RISK, title=name, name=name),
    }  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("kind", list(draw_all("a")))
def test_any_text_stays_text(kind: str, name: str) -> None:
    drawing = draw_all(name)[kind]
    root = ElementTree.fromstring(drawing)  # noqa: S314
    plain = ElementTree.fromstring(draw_all("a")[kind])  # noqa: S314
    assert {e.tag for e in root.iter()} == {e.tag for e in plain.iter()}
    assert {k for e in root.iter() for k in e.attrib} <= {
        *(k for e in plain.iter() for k in e.attrib), "transform"
    }  # fmt: skip
    drawing.encode("utf-8")
    assert root.find(f"{SVG}title").text == plots.visible(name)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", list(draw_all("a")))
def test_every_drawing_scales_is_read_aloud_and_repeats(kind: str) -> None:
    drawing = draw_all("a")[kind]
    root = ElementTree.fromstring(drawing)  # noqa: S314
    assert root.get("role") == "img"
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert root.find(f"{SVG}desc").text  # type: ignore[union-attr]
    assert drawing == draw_all("a")[kind]
    assert "script" not in drawing
    assert "nan" not in drawing
    bare = re.sub(r"var\(--[a-z0-9-]+, [^)]*\)", "", drawing)
    assert "#" not in bare, "a colour that no theme can change"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.001, [0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (1, 20, [5, 10, 15, 20]),
        (0.93, 0.97, [0.93, 0.94, 0.95, 0.96, 0.97]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert nice_ticks(low, high) == expected


def test_ticks_lie_inside_and_are_few_for_any_span() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        low = random.normal() * 10.0 ** random.integers(-6, 6)
        high = low + 10.0 ** random.uniform(-3, 6)
        ticks = nice_ticks(low, high)
        room = 1e-6 * (high - low)
        assert 2 <= len(ticks) <= 6
        assert low - room <= ticks[0] <= ticks[-1] <= high + room
        assert np.allclose(np.diff(ticks), np.diff(ticks)[0])


def test_numbers_are_short() -> None:
    assert [number(x) for x in (1.0, 0.25, -0.01, 100.0)] == ["1", "0.2", "0", "100"]
    assert [tick_label(x) for x in (0.25, 2e-5, 0.0, 1e7)] == ["0.25", "2e-5", "0", "1e7"]


def test_unseen_characters_are_spelled_out() -> None:
    assert plots.visible("a\n\u202eb\udc80\u2028") == r"a\n\u202eb\udc80\u2028"
    assert plots.visible("Lungenentzündung 肺炎 דלקת") == "Lungenentzündung 肺炎 דלקת"
    assert shorten("a" * 30, 5) == "aaaa…"
    assert shorten("abc", 3) == "abc"


def test_runs_break_at_what_is_not_a_number() -> None:
    runs = finite_runs([1, 2, 3, 4, 5], [1, None, 3, float("nan"), float("inf")])
    assert list(runs) == [[(1, 1)], [(3, 3)]]


def test_axes_put_data_where_the_ticks_are() -> None:
    axes = Axes((0, 1), (0, 10), "x", "y")
    assert (axes.across(0), axes.across(1)) == (axes.left, axes.right)
    assert (axes.up(0), axes.up(10)) == (axes.bottom, axes.top)
    assert axes.up(5) == pytest.approx((axes.bottom + axes.top) / 2)


def numbers(drawing: str, pattern: str) -> list[tuple[float, ...]]:
    found = re.findall(pattern, drawing)
    return [tuple(float(part) for part in (f if isinstance(f, tuple) else (f,))) for f in found]


def test_roc_curve_point_and_chance_line_share_the_scale() -> None:
    drawing = plots.roc(CURVE, title="t", operating_point=(0.1, 0.8, "here"))
    (x, y), _ = numbers(drawing, r'<circle cx="([\d.]+)" cy="([\d.]+)"')  # the last is the legend
    path = re.search(r'd="M([\d. L]+)" fill="none" stroke="var\(--series-1', drawing)
    assert path is not None
    points = [tuple(map(float, p.split())) for p in path.group(1).split("L")]
    assert points[1] == pytest.approx((x, y), abs=0.1)
    (left, bottom), _, (right, top) = points
    assert x == pytest.approx(left + 0.1 * (right - left), abs=0.1)
    assert y == pytest.approx(bottom - 0.8 * (bottom - top), abs=0.1)


def test_band_is_left_out_where_it_is_unknown() -> None:
    without = {key: CURVE[key] for key in ("fpr", "tpr")}
    assert "95 % band" in plots.roc(CURVE, title="t")
    assert "95 % band" not in plots.roc(without, title="t")
    unknown = {**CURVE, "low": [None] * 3, "high": [None] * 3}
    assert plots.roc(unknown, title="t") == plots.roc(without, title="t")


def test_confusion_shows_counts_and_row_percentages() -> None:
    drawing = plots.confusion([[180, 20], [3, 7]], ["no", "yes"], title="t")
    for text in ("180", "90.0\u202f%", "10.0\u202f%", "30\u202f%", "70\u202f%"):
        assert f">{text}</text>" in drawing
    assert "of 200 no, 180 decided no; of 10 yes, 7 decided yes" in drawing
    shades = [a for (a,) in numbers(drawing, r'fill-opacity="([\d.]+)"')]
    assert sorted(range(4), key=shades.__getitem__) == [1, 2, 3, 0]


def test_confusion_of_an_empty_class_and_of_twenty_classes() -> None:
    assert ">–</text>" in plots.confusion([[1, 0], [0, 0]], ["a", "b"], title="t")
    many = plots.confusion(np.eye(20, dtype=int).tolist(), [f"class {i}" for i in range(20)],
                           title="t")  # fmt: skip
    assert many.count("<rect ") == 400
    width, height = numbers(many, r'viewBox="0 0 ([\d.]+) ([\d.]+)"')[0]
    assert max(x for (x,) in numbers(many, r'<rect x="([\d.]+)"')) < width
    assert height < 1000


def test_histogram_bars_add_up_and_rare_scores_are_still_seen() -> None:
    scores = np.r_[np.full(9999, 0.99), 0.1]
    drawing = plots.score_histograms({"a": scores}, title="t", x_label="p", threshold=0.5)
    heights = [h for (h,) in numbers(drawing, r'<rect [^>]*height="([\d.]+)"')]
    assert min(heights) == 1.5
    assert len(heights) == 2
    assert "n = 10000, 100.0% at or above 0.5" in drawing
    shares = np.random.default_rng(0).random(500)
    drawing = plots.score_histograms({"a": shares}, title="t", x_label="p")
    shares = [s for (s,) in numbers(drawing, r": ([\d.]+)%</title>")]
    assert sum(shares) == pytest.approx(100, abs=1e-6)


def test_best_epoch_is_marked_at_its_place() -> None:
    drawing = plots.line_curves(
        {"loss": [3.0, 2.0, 1.0]}, title="t", y_label="loss", epochs=[1, 2, 3], best=(2, "kept")
    )
    path = re.search(r'd="M([\d. L]+)" fill="none" stroke="var\(--series-1', drawing)
    mark = re.search(r'd="M([\d.]+) [^"]*"[^>]*stroke-dasharray="3 3"', drawing)
    assert path is not None
    assert mark is not None
    assert float(mark.group(1)) == float(path.group(1).split("L")[1].split()[0])


@pytest.mark.parametrize("values", [[], [None], [0.5], [0.0, 0.0], [1e300, 1.0], [float("inf")]])
def test_degenerate_histories_draw(values: list[float | None]) -> None:
    drawing = plots.line_curves({"a": values}, title="t", y_label="y")
    ElementTree.fromstring(drawing)  # noqa: S314
    assert "nan" not in drawing
    assert "inf" not in drawing.replace("infinite", "")


def test_reliability_draws_exact_bars_and_leaves_out_empty_bins() -> None:
    drawing = plots.reliability(BINS, title="t", x_label="x", y_label="y")
    assert drawing.count("<circle") == 2  # one bin, one legend entry
    assert "stated 0.20, observed 0.10 (n = 10)" in drawing


def test_forest_orders_rows_and_marks_undefined() -> None:
    rows = [
        plots.Row("first", [plots.Estimate(0.9, 0.8, 1.0)], 0.5),
        plots.Row("second", [plots.Estimate(None)]),
    ]
    drawing = plots.forest(rows, splits=["test"], title="t", baseline="always a")
    heights = {
        name: numbers(drawing, rf'<text x="[\d.]+" y="([\d.]+)"[^>]*>{name}<')[0]
        for name in ("first", "second")
    }
    assert heights["first"] < heights["second"]
    assert "first, test: 0.900 (0.800 to 1.000); second, test: undefined" in drawing
    assert "always a: 0.500" in drawing


def test_forest_may_begin_above_zero() -> None:
    rows = [plots.Row("a", [plots.Estimate(0.8, 0.7, 0.9)])]
    drawing = plots.forest(rows, splits=["t"], title="t", baseline="b", limits=(0.6, 1.0))
    left, right, x = (
        numbers(drawing, pattern)[0][0]
        for pattern in (
            r'<text x="([\d.]+)" y="[\d.]+"[^>]*>0\.6<',
            r'<text x="([\d.]+)" y="[\d.]+"[^>]*>1<',
            r'<circle cx="([\d.]+)" [^>]*><title>a, t: 0.800',
        )
    )
    assert x == pytest.approx((left + right) / 2, abs=0.1)


def test_lineup_marks_alarms_the_own_figure_and_guessing() -> None:
    drawing = draw_all("a")["lineup"]
    assert "a: 0.900 (0.800 to 0.950), alarm; own: 0.980 (0.900 to 1.000); unknown: " in drawing
    assert drawing.count("var(--bad") == 3  # line, diamond and legend
    guess = re.search(r'd="M([\d.]+) [\d.]+L\1 [^"]*"[^>]*stroke-dasharray="2 3"', drawing)
    assert guess is not None
    ((left,),) = numbers(drawing, r'<text x="([\d.]+)" y="[\d.]+"[^>]*>0\.5<')
    assert float(guess.group(1)) == pytest.approx(left, abs=0.1)
    high = plots.lineup([], title="t", x_label="x", own="o", limits=(0.6, 1.0))
    assert drawing.count('stroke-dasharray="2 3"') - high.count('stroke-dasharray="2 3"') == 1


def test_net_benefit_is_cut_off_where_doing_nothing_is_better() -> None:
    drawing = draw_all("a")["net_benefit"]
    heights = numbers(drawing, r'viewBox="0 0 [\d.]+ ([\d.]+)"')[0][0]
    ends = [float(y) for path in re.findall(r'd="M([^"Z]+)Z?"', drawing)
            for y in re.findall(r"[\d.]+ ([\d.-]+)", path)]  # fmt: skip
    assert min(ends) >= 0
    assert max(ends) <= heights
    assert "at 0.10: a 0.500, treat all 0.550" in drawing


def test_predictive_values_lie_on_log_odds() -> None:
    values = [plots.Estimate(0.5)] * 3
    drawing = plots.predictive_values([0.1, 0.5, 0.9], {"v": values}, title="t", positive="p")
    first, middle, last = [x for (x,) in numbers(drawing, r'<circle cx="([\d.]+)"')]
    assert middle - first == pytest.approx(last - middle, abs=0.02)  # odds 1/9, 1, 9
    assert "v 0.500 at prevalence 0.9" in drawing


def test_risk_is_told_at_three_coverages() -> None:
    assert (
        "2.0% wrong of the 50% most certain; 8.0% wrong of the 100% most certain"
        in draw_all("a")["risk_coverage"]
    )


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.net_benefit(
            {"threshold": [], "model": [], "all": []}, title="t", name="n", positive="p"
        ),
        lambda: plots.risk_coverage({"coverage": [], "risk": []}, title="t", name="n"),
        lambda: plots.predictive_values([], {"PPV": []}, title="t", positive="p"),
        lambda: plots.lineup([], title="t", x_label="x", own="o", limits=(0.4, 1)),
        lambda: plots.roc({"fpr": [], "tpr": []}, title="t"),
        lambda: plots.precision_recall({"recall": [], "precision": []}, title="t", prevalence=0),
        lambda: plots.reliability([], title="t", x_label="x", y_label="y"),
        lambda: plots.forest([], splits=["a"], title="t", baseline="b"),
        lambda: plots.line_curves({}, title="t", y_label="y"),
        lambda: plots.score_histograms({"a": []}, title="t", x_label="x"),
    ],
)
def test_empty_input_draws_empty_axes(draw: Callable[[], str]) -> None:
    ElementTree.fromstring(draw())  # noqa: S314

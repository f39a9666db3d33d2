"""Report and check page: leaks, use, limits of trust, and test-set evaluations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lucency.errors import RunError
from lucency.report import glossary, write_check, write_report
from test_report import ALLOWED, ATTRIBUTES, HOSTILE, THREE, Page, make_run, page, tiny_png
from trusted import explanation, trust
from web_browser import browser

SAFE_TAGS = ALLOWED | {"em"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("template") / "run")


@pytest.fixture
def plain(template: Path, tmp_path: Path) -> Path:
    """A run without anything that this file is about."""
    return Path(shutil.copytree(template, tmp_path / "run"))


@pytest.fixture
def run(plain: Path) -> Path:
    return trust(plain)


def check(folder: Path) -> Page:
    path = write_check(folder)
    assert path == folder / "check.html"
    return Page(path.read_text("utf-8"))


def make_check(run: Path, out: Path) -> Path:
    """Leave what a check leaves: the audit and the images of a run, and nothing else."""
    out.mkdir()
    shutil.copy(run / "audit.json", out)
    shutil.copytree(run / "images", out / "images")
    return out


def change(path: Path, **values: Any) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | values))


def test_everything_is_there_and_every_link_leads_somewhere(run: Path) -> None:
    found = page(run)
    assert "This run holds no" not in found.text
    anchors = {attrs["id"] for _, attrs in found.elements if "id" in attrs}
    links = {str(attrs["href"]) for tag, attrs in found.elements if tag == "a"}
    assert {link.removeprefix("#") for link in links} <= anchors
    pages = {a.removeprefix("glossary-") for a in anchors if a.startswith("glossary-")}
    assert pages <= set(glossary.names())
    assert {f"#glossary-{name}" for name in pages} <= links, "only pages with a link"
    assert {"leaks", "baseline", "calibration", "decision-curve", "ledger"} <= pages
    assert "comparison" not in pages
    assert not found.open


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


SCREEN = 800  # pixels of height; the width is 1280


def height(shown: Any) -> int:
    return int(shown.evaluate("document.documentElement.scrollHeight"))


@pytest.mark.browser
@pytest.mark.parametrize("status", ["passed", "ignored"])
def test_the_report_is_short(chromium: Any, plain: Path, status: str) -> None:
    """Measure the page as it opens, and with every section open.

    Details inside a section (long tables, file names, pages of the glossary) stay closed.
    """
    run = trust(plain, status=status)
    page(run)
    shown = chromium.new_page(viewport={"width": 1280, "height": SCREEN})
    shown.goto((run / "report.html").as_uri())
    first = shown.locator("#trust").bounding_box()
    assert first["y"] + first["height"] <= SCREEN
    assert height(shown) <= 1.6 * SCREEN
    shown.evaluate("document.querySelectorAll('.fold').forEach(fold => fold.open = true)")
    tall = height(shown)
    assert tall <= 6 * SCREEN, f"{tall} pixels, {tall / SCREEN:.1f} screens"


@pytest.mark.browser
def test_a_link_opens_the_section_it_leads_to(chromium: Any, run: Path) -> None:
    page(run)
    shown = chromium.new_page()
    shown.goto((run / "report.html").as_uri())
    assert not shown.locator("#shortcuts").is_visible()
    shown.locator("#trust a[href='#shortcuts']").click()
    assert shown.locator("#shortcuts").is_visible()
    shown.locator("#performance a[href='#glossary-roc-auroc']").click()
    assert shown.locator("#glossary-roc-auroc").is_visible()


@pytest.mark.browser
def test_the_report_fits_a_phone(chromium: Any, run: Path) -> None:
    page(run)
    shown = chromium.new_page(viewport={"width": 390, "height": 844})
    shown.goto((run / "report.html").as_uri())
    shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
def test_a_printed_report_opens_its_sections(chromium: Any, run: Path) -> None:
    page(run)
    shown = chromium.new_page()
    shown.goto((run / "report.html").as_uri())
    shown.emulate_media(media="print")
    assert shown.locator("#mistakes").is_visible()
    assert not shown.locator("#glossary .glossary").is_visible()


def test_the_baseline_is_counted_in_images(plain: Path) -> None:
    text = page(plain).section("performance")
    assert (
        "Always predicting PNEUMONIA scores 62.5 % accuracy (390 of 624 test images); this "
        "classifier scores" in text
    )


@pytest.mark.parametrize(
    ("status", "word", "level"),
    [
        ("passed", "Passed", "good"),
        ("dropped", "Resolved", "warn"),
        ("failed", "Failed", "bad"),
        ("ignored", "Ignored", "bad"),
        ("no test split", "No test split", "warn"),
        ("<b>new</b>", "<b>new</b>", "bad"),
    ],
)
def test_leak_check_has_one_verdict_in_word_and_colour(
    plain: Path, status: str, word: str, level: str
) -> None:
    found = page(trust(plain, status=status))
    classes = [a["class"] for tag, a in found.elements if tag == "p" and "class" in a]
    verdicts = [name for name in classes if name and name.startswith("verdict")]
    assert verdicts == ["verdict warn", f"verdict {level}"]  # the first is on the maps
    lines = [a["class"] for tag, a in found.elements if tag == "li" and "class" in a]
    assert lines[0] == level
    assert f"Leak check {word}. " in found.section("trust")
    assert f"{word} " in found.section("data")
    banner = "The test figures on this page are void." in found.text
    assert banner == (status == "ignored")
    if banner:
        assert found.text.index("figures on this page are void") < found.text.index("How good")


def test_maps_are_shown_with_what_the_tests_of_them_found(run: Path) -> None:
    index = json.loads((run / "images" / "index.json").read_text())["images"]
    for shade, kind in enumerate(("explained", "map"), start=201):
        (run / "images" / f"{kind}.png").write_bytes(tiny_png(shade))
        entry = {"kind": kind, "file": "val/x.png", "label": "NORMAL", "split": "val"}
        index.append(entry | {"png": f"{kind}.png"})
    (run / "images" / "index.json").write_text(json.dumps({"format": 2, "images": index}))
    text = page(run).section("maps")
    assert "Uninformative On 64 images of bacteria." in text
    assert "NORMAL, map uninformative" in text
    assert "val/x.png" in text
    assert "evidence for PNEUMONIA" in text
    assert "Full colour is 7.2 logits" in text
    assert "33 of 33 layers shuffled 0.100" in text
    assert "The maps lean towards the border" in text
    change(run / "explanation.json", **explanation("bacteria", informative=True))
    text = page(run).section("maps")
    assert "✓ Informative On 64" in text
    assert "map uninformative" not in text


def test_without_tests_of_maps_it_says_so(plain: Path) -> None:
    text = page(plain).section("maps")
    assert "This run holds no test of activation maps (explanation.json)." in text


def test_leaking_pairs_show_both_images(run: Path) -> None:
    audit = json.loads((run / "audit.json").read_text())
    first = audit["leaks"]["pairs"][0]
    index = json.loads((run / "images" / "index.json").read_text())["images"]
    for side, shade in (("first", 11), ("second", 12)):
        (run / "images" / f"leak-{side}.png").write_bytes(tiny_png(shade))
        index.append({"kind": "leak", "file": first[side], "png": f"leak-{side}.png",
                      "label": "NORMAL", "split": "test", "pair": 0})  # fmt: skip
    (run / "images" / "index.json").write_text(json.dumps({"format": 2, "images": index}))
    found = page(run)
    images = [attrs["alt"] for tag, attrs in found.elements if tag == "img"]
    assert images.index(first["first"]) + 1 == images.index(first["second"])
    text = found.section("data")
    assert "4 leaking pairs" in text
    assert "1 patient of the test split also has 3 images in training" in text
    assert "4 pairs of used images show the same content" in text
    assert "1 with different labels: one of the two is probably wrong" in text
    assert f"nearly the same, similarity {first['similarity']:.3f}" in text


def test_operating_point_is_shown_where_chosen_and_where_it_counts(run: Path) -> None:
    test = json.loads((run / "evaluation.json").read_text())["test"]["metrics"]
    text = page(run).section("decisions")
    assert "Rule: greatest Youden index on validation. Threshold: 0.5." in text
    moved = {name: 100 * test[name]["value"] - then
             for name, then in (("sensitivity", 95.1), ("specificity", 96.2))}  # fmt: skip
    for name, points in moved.items():
        way = "higher" if points > 0 else "lower"
        assert f"{name} is {abs(points):.1f} points {way}" in text


def test_validation_figures_stand_beside_the_test_figures(plain: Path) -> None:
    validation = json.loads((plain / "evaluation.json").read_text())["validation"]["metrics"]
    text = page(plain).section("decisions")
    assert f"{100 * validation['sensitivity']['value']:.1f} % (" in text
    assert "higher" in text or "lower" in text


def test_predictive_values_are_counted_in_images_at_the_lowest_prevalence(run: Path) -> None:
    value = json.loads((run / "evaluation.json").read_text())["test"]["predictive_values"][0]
    text = page(run).section("use")
    about = f"about {100 * value['ppv']['value']:.0f} ("
    sentence = "Where 1 of 100 people are PNEUMONIA, of 100 images predicted PNEUMONIA"
    assert f"{sentence} {about}" in text
    assert "63 %" in text  # the stated one


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ([0.1, 0.3, 0.2, -0.1], "at thresholds from 0.20 to 0.60."),
        ([0.1, 0.3, 0.0, 0.1], "at thresholds from 0.20 to 0.20 and some beyond."),
        ([0.1, 0.1, 0.0, -0.1], "nowhere."),
        ([None, 0.3, 0.2, 0.1], "at thresholds from 0.20 to 0.80."),
    ],
)
def test_decision_curve_says_where_it_pays(
    run: Path, model: list[float | None], words: str
) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    evaluation["test"]["decision_curve"] = {
        "prevalence": 0.6, "threshold": [0.1, 0.2, 0.6, 0.8], "model": model,
        "low": model, "high": model, "all": [0.5, 0.25, 0.0, -1.0],
    }  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    assert f"Worth using where it lies above both other lines: {words}" in page(run).text


@pytest.mark.parametrize(
    ("ece", "verdict", "level"), [(0.054, "more", "warn"), (0.02, "no more", "good")]
)
def test_calibration_error_is_compared_with_chance(
    run: Path, ece: float, verdict: str, level: str
) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    for split in ("test", "validation"):
        evaluation[split]["calibration"]["ece"] = ece
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    found = page(run)
    line = f"Error {ece:.3f}, {verdict} than chance gives (up to 0.021)."
    assert line in found.section("trust")
    lines = [a["class"] for tag, a in found.elements if tag == "li" and "class" in a]
    assert lines[2] == level
    text = found.section("calibration")
    assert f"Error, corrected for chance {ece:.3f} {ece:.3f}" in text
    assert "−0.010 to 0.021" in text
    assert "Calibration slope 1.08 (0.85–1.31)" in text


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.8, 1.6, "more often"), (-1.6, -0.8, "less often"), (0.2, 1.2, "")],
)
def test_where_test_contradicts_validation_both_intercepts_are_stated(
    run: Path, low: float, high: float, words: str
) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    for split, ends in {"test": (low, high), "validation": (-0.3, 0.3)}.items():
        entry = {"value": sum(ends) / 2, "low": ends[0], "high": ends[1]}
        evaluation[split]["metrics"]["calibration_intercept"] = entry
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    text = page(run).text
    assert (f"on test, images are positive {words} than the probabilities say" in text) is bool(
        words
    )
    assert ("0.000 (−0.300 to 0.300) on validation" in text) is bool(words)


def test_prediction_sets_show_promised_and_measured_coverage(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    found = evaluation["test"]["selective"]
    found["conformal"] = found["conformal"][2:4]  # 95 %
    found["conformal"][0]["coverage"]["value"] = 0.9
    found["conformal"][1]["unlimited"] = [1]
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    text = page(run).section("selective")
    assert "Of 624 images: predicted 575 (92.1 %), out of distribution 12 (1.9 %)" in text
    assert "all images 95 % 90.0 % (92.0–96.0) 92.0–98.0 less" in text
    assert "NORMAL 95 % " in text
    assert "Validation has too few patients of PNEUMONIA" in text
    assert "Accuracy 97.0 % (94.0–100.0)" in text


def test_subgroups_of_one_class_are_ranked_against_all_others(run: Path) -> None:
    text = page(run).section("subgroups")
    assert "file name: bacteria 0 NORMAL and 100 PNEUMONIA 100 80 90.0 % (87.0–93.0)" in text
    assert "0.980 (0.950–1.000)*" in text
    assert "ranked against all images of the other classes" in text


def test_robustness_shows_the_worst_first_and_shades_them(run: Path) -> None:
    found = page(run)
    text = found.section("robustness")
    assert "The corruption that flips most predictions: inversion (40.3 %)." in text
    assert text.index("inversion 0.875") < text.index("JPEG, quality 75 0.885")
    assert "All 12 corruptions" in text
    assert text.count("unchanged") == 1  # not among the worst
    shades = {str(a.get("class")) for tag, a in found.elements if tag == "td"}
    assert {"n shade-0", "n shade-5"} <= shades


def test_test_set_evaluations_and_checklists_are_counted(run: Path) -> None:
    text = page(run).text
    assert text.count("This test set has been evaluated 4 times, by 2 classifiers.") == 2
    assert "TRIPOD+AI: 2 filled, 1 needs the author, 1 not done of 4 items" in text


def test_alarms_of_the_probes_stand_before_the_figures_are_believed(run: Path) -> None:
    findings = [{"level": level, "text": f"{level}: <i>x</i>", "probe": "file"}
                for level in ("alarm", "note")]  # fmt: skip
    change(run / "audit.json", findings=findings)
    text = page(run).section("trust")
    assert "alarm: <i>x</i>" in text
    assert "note: <i>x</i>" not in text


def test_probes_stand_beside_the_network_with_alarms_first(run: Path) -> None:
    own = json.loads((run / "evaluation.json").read_text())["test"]["metrics"]["auroc"]["value"]
    text = page(run).section("shortcuts")
    assert text.index("Alarm The file headers alone") < text.index("Note Note on bacteria.")
    assert f"this network: {own:.3f} (" in text  # read aloud
    assert "file: 0.912 (0.902 to 0.922), alarm" in text
    assert "6 probes" not in text
    assert "5 probes, 1 flagged" in text
    assert "file 0.912 (0.902–0.922) 0.882 (0.842–0.922) yes file alone 0.892" in text
    assert "name – undefined – no" in text


def test_shift_says_which_way(run: Path) -> None:
    text = page(run).section("shortcuts")
    assert "brighter than the training images: +8.9 grey levels of 255 (+7.1 to +10.7)" in text
    assert "bacteria 74.3 % 63.0 % −11.3 points (−16.0 to −6.0)" in text
    assert "tone 0.810 (0.780–0.840)" in text
    audit = json.loads((run / "audit.json").read_text())
    change(run / "audit.json", shift=audit["shift"] | {"tone": None})
    assert "grey levels" not in page(run).text


def test_outliers_are_listed_with_their_thumbnails(run: Path) -> None:
    index = json.loads((run / "images" / "index.json").read_text())["images"]
    index.append({"kind": "outlier", "file": "train/virus", "png": "0.png", "label": "NORMAL",
                  "split": "train"})  # fmt: skip
    (run / "images" / "index.json").write_text(json.dumps({"format": 2, "images": index}))
    found = page(run)
    text = found.section("shortcuts")
    assert "64 images differ from the rest." in text
    assert "train/virus very dark 3.14" in text
    assert "And 60 more." in text
    alts = [attrs["alt"] for tag, attrs in found.elements if tag == "img"]
    assert alts.count("very dark, train/virus") == 1


def test_check_page_has_probes_without_a_network(run: Path, tmp_path: Path) -> None:
    text = check(make_check(run, tmp_path / "check")).text
    assert "Alarm The file headers alone tell the classes apart." in text
    assert "file: 0.912 (0.902 to 0.922), alarm" in text
    assert "this network" not in text


def test_three_classes_have_no_threshold_and_no_prevalence(tmp_path: Path) -> None:
    run = trust(make_run(tmp_path / "run", classes=THREE))
    evaluation = json.loads((run / "evaluation.json").read_text())
    for split in ("test", "validation"):
        evaluation[split] |= {"predictive_values": [], "decision_curve": None}
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    text = page(run).text
    assert "With more than two classes there is no threshold" in text
    assert "Predictive values and net benefit are for two classes" in text
    assert "This run holds no decision curve" not in text


def test_a_run_without_a_test_split_still_draws(tmp_path: Path) -> None:
    run = trust(make_run(tmp_path / "run", sizes={"val": (25, 60)}), status="no test split")
    text = page(run).section("decisions")
    assert "Validation" in text
    assert "On the test split" not in text


def test_empty_lists_are_no_mistake(plain: Path) -> None:
    run = trust(plain, status="passed")
    evaluation = json.loads((run / "evaluation.json").read_text())
    evaluation["test"] |= {
        "subgroups": [], "predictive_values": [],
        "selective": {"risk_coverage": None, "conformal": [], "abstention": None},
    }  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    change(run / "audit.json", near_duplicates=[], probes=None, outliers=None, findings=[])
    for name, key in (
        ("robustness", "rows"),
        ("test_evaluations", "evaluations"),
        ("checklist", "items"),
    ):
        change(run / f"{name}.json", **{key: []})
    assert "There are no near duplicates among the used images." in page(run).text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("test_evaluations.json", "["),
        ("robustness.json", '{"format": 2, "rows": [{}]}'),
        ("checklist.json", "[]"),
        ("audit.json", '{"format": 2, "leaks": []}'),
    ],
)
def test_damaged_additions_are_a_run_error(run: Path, file: str, text: str) -> None:
    (run / file).write_text(text)
    with pytest.raises(RunError):
        write_report(run)
    assert not (run / "report.html").exists()


def test_hostile_names_stay_text_everywhere(tmp_path: Path) -> None:
    run = trust(make_run(tmp_path / "run", names=HOSTILE), names=list(HOSTILE), status=HOSTILE[2])
    found = page(run)
    assert {tag for tag, _ in found.elements} <= SAFE_TAGS
    assert {name for _, attrs in found.elements for name in attrs} <= ATTRIBUTES
    assert not found.open
    assert "\u202e" not in found.text
    found = check(make_check(run, tmp_path / "check"))
    assert {tag for tag, _ in found.elements} <= SAFE_TAGS
    assert {name for _, attrs in found.elements for name in attrs} <= ATTRIBUTES
    assert not found.open


def test_check_page_shows_the_data_alone(plain: Path, tmp_path: Path) -> None:
    out = make_check(trust(plain, status="failed"), tmp_path / "check")
    found = check(out)
    sections = [attrs["id"] for tag, attrs in found.elements if tag == "section"]
    assert sections == ["result", "data", "shortcuts", "glossary"]
    assert "3,671 images, 2 classes" in found.text
    assert found.text.count("Failed Copies or patients of the test split are in") == 1
    assert "The share of PNEUMONIA differs" in found.text
    assert "Accuracy" not in found.text
    assert write_check(out).read_bytes() == write_check(out).read_bytes()
    images = [attrs["src"] for tag, attrs in found.elements if tag == "img"]
    assert images
    assert all(source and source.startswith("data:image/png;base64,") for source in images)


def test_check_without_its_audit(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no check of data: audit\.json is missing"):
        write_check(tmp_path)


def test_check_without_a_leak_check(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(plain / "audit.json", out)
    text = check(out).text
    assert "This check holds no leak check." in text
    assert "This check holds no sample images." in text

"""The page in a real browser, as a person uses it, with errors and with hostile input."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lucency.classifier import Classifier, neighbours_json
from lucency.evaluation import with_prior
from lucency.explain.drawing import colours, enlarged
from lucency.serve.inference.service import Service as RealService
from lucency.serve.web import about
from page_server import Reply, Service, failed, predicted, running
from serving import QUICK
from serving import running as serving
from small_runs import TWO, write_images, write_run
from test_neighbours import some
from web_browser import browser as chromium

MAP = [[-4.0, 0.0], [0.0, 2.0]]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    return write_run(data / "small", data, write_images(data))


@pytest.fixture(scope="module")
def document(run: Path) -> dict[str, Any]:
    """Return the document for the page of a small run whose maps were tested."""
    found = about(run, Classifier.load(run))
    explanation = {"method": "m", "scale": 8.0, "informative": True, "sentence": "Believe it half."}
    return found | {"explanation": explanation, "conformal": True, "ood_detector": True}


@functools.cache
def nearest() -> list[dict[str, Any]]:
    kept = some()
    return neighbours_json(kept, kept.embeddings[0], 3) or []


def prediction(
    share: float = 0.8, classes: tuple[str, ...] = TWO, **changes: Any
) -> dict[str, Any]:
    """Return a prediction as the service sends it, with the probability of the last class."""
    rest = (1 - share) / (len(classes) - 1)
    probabilities = dict.fromkeys(classes, rest) | {classes[-1]: share}
    return {
        "decision": max(probabilities, key=probabilities.__getitem__),
        "probabilities": probabilities,
        "reason": None,
        "prediction_set": [classes[-1]],
        "ood_score": 0.4,
        "notes": [],
        "activation_map": {"class": classes[-1], "method": "m", "scale": 8.0, "values": MAP},
        "image": nearest()[0]["image"],
        "size": [1200, 1600],
        "neighbours": nearest(),
        **changes,
    }


FAR = "out of distribution: OOD score 2.5, limit 1"


def by_body(body: bytes) -> Reply:
    """Predict a file by its content."""
    word, _, rest = body.decode("latin-1").partition(" ")
    if word == "far":
        return predicted(prediction(0.97, decision=None, reason=FAR, ood_score=2.5))
    if word == "bad":
        return failed("The file ends early: get it again.")
    return predicted(prediction(float(rest or 0.8)))


class Monitor:
    """Records what must not happen on a page: errors, violations, requests to other hosts."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.faults: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: (self.faults.append(dialog.message), dialog.dismiss()))
        page.on("console", self._on_console)
        page.on("request", lambda request: self.requests.append(request.url))

    def _on_console(self, message: Any) -> None:
        # The browser also logs the error status of a file that cannot be read.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def check(self) -> None:
        assert self.faults == []
        inside = (self.url, f"blob:{self.url}", "data:image/png;base64,")
        assert [each for each in self.requests if not each.startswith(inside)] == []
        assert any(each.endswith("/page/page.js") for each in self.requests)


def new_context(browser: Any, **options: Any) -> Any:
    options = {"viewport": {"width": 1100, "height": 800}, "accept_downloads": True} | options
    context = browser.new_context(**options)
    context.set_default_timeout(30_000)
    return context


@pytest.fixture(scope="module")
def shared(browser: Any) -> Any:
    """Return a context for all tests: each has services, and so a storage, of its own."""
    return new_context(browser)


@dataclasses.dataclass
class Opener:
    """Opens pages of services, and checks them all at the end."""

    browser: Any
    shared: Any
    own: list[Any] = dataclasses.field(default_factory=list)
    monitors: list[Monitor] = dataclasses.field(default_factory=list)

    def __call__(self, url: str, *, ready: bool = True, **options: Any) -> Any:
        context = self.shared
        if options:
            context = new_context(self.browser, **options)
            self.own.append(context)
        monitor = Monitor(context.new_page(), url)
        self.monitors.append(monitor)
        monitor.page.goto(url)
        if ready:
            monitor.page.locator("#input").wait_for()
        return monitor.page


@pytest.fixture
def opened(browser: Any, shared: Any) -> Iterator[Opener]:
    opener = Opener(browser, shared)
    yield opener
    shared.set_offline(False)
    for closed in (*shared.pages, *opener.own):
        closed.close()
    for monitor in opener.monitors:
        monitor.check()


Serve = Callable[..., str]


@pytest.fixture
def serve(document: dict[str, Any]) -> Iterator[Serve]:
    """Return a function that starts a service and returns its address."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(given: Any = by_body, token: str = "", **changes: Any) -> str:
            service = Service(document | changes, given, token)
            start.service = service  # type: ignore[attr-defined]
            return stack.enter_context(running(service))

        yield start


def files(*bodies: str, names: list[str] | None = None) -> list[dict[str, Any]]:
    named = names or [f"{i}.png" for i in range(len(bodies))]
    return [
        {"name": name, "mimeType": "image/png", "buffer": body.encode()}
        for name, body in zip(named, bodies, strict=True)
    ]


def give(page: Any, *bodies: str, names: list[str] | None = None) -> None:
    page.set_input_files("#files", files(*bodies, names=names))
    page.locator("#progress-panel").wait_for(state="hidden")


def text(page: Any, selector: str) -> str:
    return str(page.locator(selector).inner_text()).replace("\u202f", " ")


# One image


def test_one_image_gets_a_prediction_and_its_meaning(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    assert text(page, "h1") == "NORMAL or PNEUMONIA"
    give(page, "p 0.835")
    assert text(page, ".decision") == "PNEUMONIA"
    shown = text(page, ".prediction")
    assert "83.5 % probability of PNEUMONIA" in shown
    assert "about 84 show PNEUMONIA, if 50 % of all images do" in shown
    assert "Decision threshold (the mark): 50 %" in shown
    assert "0.40, within the limit of 1" in shown
    assert page.evaluate("document.activeElement.id") == "result-title"
    assert "PNEUMONIA. Probability of PNEUMONIA 83.5" in text(page, "#announcer")
    assert "1,600 × 1,200 pixels" in text(page, "figcaption >> nth=0")
    nearest = page.locator(".neighbours figure")
    assert nearest.count() == 3
    assert nearest.first.inner_text().splitlines() == ["NORMAL", "distance 0.00"]
    assert page.locator("#results").is_hidden()


def test_the_map_is_signed_on_the_scale_of_the_classifier(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    give(page, "p 0.8")
    drawn = page.evaluate(
        """() => { const all = document.querySelector(".map").getContext("2d")
          .getImageData(0, 0, 256, 256).data;
        const found = [];
        for (let y = 0; y < 256; y += 8) for (let x = 0; x < 256; x += 8)
          found.push(...all.slice(4 * (256 * y + x), 4 * (256 * y + x) + 4));
        return found; }"""
    )
    found = np.array(drawn).reshape(32, 32, 4)
    expected = colours(enlarged(np.array(MAP), (256, 256)), 8.0)[::8, ::8]
    np.testing.assert_allclose(found[..., 3] / 255, expected[..., 3], atol=0.003)
    visible = found[..., 3] > 60  # a canvas keeps few digits of faint colours
    np.testing.assert_allclose(found[visible][:, :3], expected[visible][:, :3], atol=3)
    assert "against PNEUMONIA\n−8.0" in text(page, ".legend-labels")
    spoken = page.locator(".map").get_attribute("aria-label")
    assert spoken == (
        "Evidence is strongest for PNEUMONIA at the bottom right (+2.0), "
        "and against PNEUMONIA at the top left (−4.0)."
    )
    assert "Believe it half." in text(page, ".map-controls")
    page.locator("#map-opacity").press("Home")
    assert page.locator(".map").evaluate("c => c.style.opacity") == "0"
    page.locator("#map-on").press("Space")
    assert page.locator(".map").is_hidden()
    assert page.locator("#map-opacity").is_disabled()


def test_an_uninformative_map_is_labelled_and_off(opened: Opener, serve: Serve) -> None:
    explanation = {
        "method": "m",
        "scale": 8.0,
        "informative": False,
        "sentence": "Uninformative: no better than chance.",
    }
    page = opened(serve(explanation=explanation))
    give(page, "p 0.8")
    assert page.locator(".map").is_hidden()
    assert text(page, ".map-controls .message") == "Uninformative: no better than chance."
    page = opened(serve(explanation=None))
    give(page, "p 0.8")
    assert "was not tested" in text(page, ".map-controls")


@pytest.mark.parametrize("prior", [0.5, 0.743])
def test_another_prevalence_adjusts_the_probability(
    opened: Opener, serve: Serve, prior: float
) -> None:
    page = opened(serve(prevalence=prior))
    give(page, "p 0.8347")
    for wanted in (0.1, 1, 5, 62.5, 99.9):
        page.locator("#prevalence-field").fill(str(wanted))
        new = wanted / 100
        expected = with_prior([[1 - 0.8347, 0.8347]], (1 - prior, prior), (1 - new, new))[0, 1]
        shown = text(page, ".adjusted strong")
        exact = f"{100 * expected:.1f} %" if expected < 0.999 else ">99.9 %"
        assert shown == exact
    assert "Decision threshold (the mark): 50 %" in text(page, ".prediction")  # the decision stays
    assert text(page, ".figure strong") == "83.5 %"
    page.locator("#prevalence-slider").press("Home")
    assert page.locator("#prevalence-field").input_value() == "0.1"
    page.get_by_role("button", name="Reset to").click()
    assert text(page, ".adjusted strong") == "83.5 %"


def test_an_abstention_shows_no_decision(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    give(page, "far")
    assert text(page, ".decision") == "No decision"
    assert "OOD score 2.5, limit 1" in text(page, ".message")
    assert "no decision" in text(page, "#announcer")
    assert page.locator(".map").is_hidden()
    assert page.locator(".bars").is_hidden()  # the probabilities are folded
    assert "%" not in text(page, ".prediction")
    give(page, "p 0.9", "far")
    row = page.locator("tr.abstained").first
    assert row.locator("td.n").all_inner_texts() == ["–", "–"]
    assert "No decision" in row.locator("td.outcome").inner_text()


@pytest.mark.parametrize("changes", [{}, {"decision": None, "reason": FAR}])
def test_notes_on_a_dicom_file_are_shown(
    opened: Opener, serve: Serve, changes: dict[str, Any]
) -> None:
    notes = ["a lateral view", "<b>text</b> is burned in"]
    page = opened(serve(lambda _: predicted(prediction(0.8, notes=notes, **changes))))
    give(page, "p 0.8")
    assert text(page, ".file-notes") == f"DICOM note: {'; '.join(notes)}."


def test_more_than_two_classes_get_bars_and_no_prevalence(opened: Opener, serve: Serve) -> None:
    five = ("ant", "bee", "cat", "dog", "elk")
    url = serve(
        lambda _: predicted(prediction(0.6, five)),
        classes=list(five),
        positive=None,
        prevalence=None,
    )
    page = opened(url)
    assert text(page, "h1") == "ant, bee, cat, dog or 1 more"
    give(page, "x")
    assert text(page, ".decision") == "elk"
    rows = [each.replace("\u202f", " ") for each in page.locator(".bars tr").all_inner_texts()]
    assert rows[0].split("\t")[:2] == ["elk", "60.0 %"]
    assert len(rows) == 5
    assert page.locator("fieldset").count() == 0
    give(page, "x", "x")
    assert page.locator("table.results thead button").all_inner_texts() == [
        "File", "Decision", "Probability", "Reason",
    ]  # fmt: skip


def test_grades_are_in_their_order_with_the_side_of_the_cut(
    opened: Opener, serve: Serve, tmp_path: Path
) -> None:
    grades = ("none", "mild", "moderate", "severe")
    cut = {"from": "moderate", "probability": 0.7, "positive": True}
    reason = "ambiguous: none to moderate"
    found = {
        "clear": prediction(0.4, grades, decision="moderate", cut=cut),
        "wide": prediction(0.4, grades, decision=None, reason=reason, cut=cut | {"positive": None}),
    }
    kappa = {"value": 0.75, "low": 0.7, "high": 0.8, "method": "m"}
    evaluation = {
        "split": "test", "n": 500, "groups": None, "metrics": {"quadratic_kappa": kappa}
    }  # fmt: skip
    url = serve(
        lambda body: predicted(found[body.decode()]), classes=list(grades), task="ordinal",
        evaluation=evaluation,
        positive=None, prevalence=None, cut=cut | {"threshold": 0.35, "rule": "a rule"},
    )  # fmt: skip
    page = opened(url)
    assert "the median grade" in text(page, "body")
    assert "Quadratic weighted kappa 0.75" in text(page, "header")
    give(page, "clear")
    assert text(page, ".decision") == "moderate"
    rows = page.locator(".bars tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == [*grades]
    shown = text(page, ".prediction").replace("\u202f", " ")
    assert "Positive: the probability of moderate or a higher grade is 70.0 %" in shown
    assert "of 100 images with 20.0 % for moderate" in shown
    give(page, "wide")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    saved.value.save_as(tmp_path / "a.csv")
    clear, wide = csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text()))
    assert (clear["positive"], clear["positive_probability"]) == ("true", "0.7")
    assert (wide["decision"], wide["positive"], wide["reason"]) == ("", "", reason)


def of_labels(shares: dict[str, float], unclear: str = "", **changes: Any) -> dict[str, Any]:
    """Return a prediction of several labels, of which one may be unclear."""
    labels = {
        name: {
            "probability": p,
            "present": None if name == unclear else p >= 0.5,
            "prediction_set": ["absent", "present"] if name == unclear else ["present"],
        }
        for name, p in shares.items()
    }
    names = [name for name, each in labels.items() if each["present"]]
    return prediction(
        classes=tuple(shares), decision=", ".join(names) or "No finding", probabilities=shares,
        prediction_set=[], labels=labels, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("count", [3, 5])
def test_several_labels_have_their_own_probabilities(
    opened: Opener, serve: Serve, tmp_path: Path, count: int
) -> None:
    """Up to four labels have columns; of more, the highest probability has one."""
    names = ("effusion", "nodule", "device", "opacity", "fracture")[:count]
    none, reason = dict.fromkeys(names, 0.1), "ambiguous: nodule"
    found = {
        "two": of_labels(none | {"effusion": 0.9, "device": 0.8}),
        "one": of_labels(none | {"effusion": 0.7, "nodule": 0.55}, unclear="nodule"),
        "none": of_labels(none),
        "unclear": of_labels(none | {"nodule": 0.6}, unclear="nodule", reason=reason)
        | {"decision": None},
    }
    url = serve(
        lambda body: predicted(found[body.decode()]), classes=list(names), task="multilabel",
        positive=None, prevalence=None, conformal=False,
        labels={name: {"threshold": 0.5, "rule": "r"} for name in names},
    )  # fmt: skip
    page = opened(url)
    whole = text(page, "body").replace("\u202f", " ")
    assert "at its own threshold: effusion from 50 %, nodule from 50 %" in whole
    give(page, "two")
    shown = text(page, ".prediction").replace("\u202f", " ")
    assert text(page, ".decision") == "effusion, device"
    assert "of 100 images with 90.0 % for effusion, about 90 have it" in shown
    assert page.locator(".bars tr.predicted").all_inner_texts()[1].startswith("device")
    assert page.locator(".bars tr.predicted").count() == 2
    cells_of = page.locator(".bars tr").all_inner_texts()
    assert "present (from 50 %)" in cells_of[0].replace("\u202f", " ")
    assert "absent (from 50 %)" in cells_of[-1].replace("\u202f", " ")
    assert page.locator(".bars .bar-mark").count() == count
    spoken = text(page, "#announcer").replace("\u202f", " ")
    assert "Probability of effusion 90.0 %. Probability of device 80.0 %." in spoken
    give(page, "one", "none", "unclear")
    rows = page.locator("table.results tbody tr").all_inner_texts()
    cells = [row.replace("\u202f", " ").split("\t") for row in rows]
    assert not any("NaN" in row or "undefined" in row for row in rows)
    at_top = [len(each.query_selector_all(".top")) for each in
              page.query_selector_all("table.results tbody tr")]  # fmt: skip
    if count == 3:
        assert [x for x in cells[0] if "%" in x] == ["90.0 %", "10.0 %", "80.0 %"]
        assert at_top == [2, 1, 0, 0]
    else:
        assert "Highest probability" in text(page, "table.results thead")
        assert [[x for x in row if "%" in x] for row in cells] == [["90.0 %"], ["70.0 %"],
                                                                   ["10.0 %"], []]  # fmt: skip
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    saved.value.save_as(tmp_path / "a.csv")
    two, one, _, unclear = csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text()))
    assert (two["present_effusion"], two["present_nodule"]) == ("true", "false")
    assert (one["present_nodule"], one["p_nodule"]) == ("", "0.55")
    assert (unclear["decision"], unclear["reason"]) == ("", reason)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download JSON").click()
    saved.value.save_as(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())[1]["labels"]["nodule"]["present"] is None


# The service itself


@pytest.fixture(scope="module")
def service(run: Path) -> Iterator[str]:
    with serving(RealService(run, QUICK)) as started:
        yield f"http://127.0.0.1:{started.port}/"


def test_the_page_shows_the_predictions_of_the_classifier(
    opened: Opener, service: str, run: Path
) -> None:
    page = opened(service)
    images = sorted((run.parent / "test").rglob("*.png"))
    page.set_input_files("#files", [*images, run / "classifier.json"])
    page.locator("#progress-panel").wait_for(state="hidden")
    assert page.locator("tr.failed th").all_inner_texts() == ["classifier.json"]
    for each in Classifier.load(run).predict(images):
        row = page.locator("tbody tr", has=page.get_by_text(Path(each.file).name, exact=True))
        assert row.locator("td.outcome").inner_text() == each.decision
        shares = [f"{100 * p:.1f}\u202f%" for p in each.probabilities]
        assert row.locator("td.n").all_inner_texts() == shares
    page.locator("tr.decided button").first.click()
    page.locator(".layers img").wait_for()
    assert "8 × 8 pixels" in text(page, "figcaption >> nth=0")


def test_a_service_accepts_the_token_that_the_browser_stores(opened: Opener, run: Path) -> None:
    token = "".join(["sixteen"] * 3)
    with serving(RealService(run, dataclasses.replace(QUICK, token=token))) as started:
        known = {"http_credentials": {"username": "any", "password": token}}
        page = opened(f"http://127.0.0.1:{started.port}/", **known)
        page.set_input_files("#files", sorted((run.parent / "test").rglob("*.png"))[:1])
        page.locator(".figure").wait_for()


# Many images


def test_several_images_are_in_a_table_that_can_be_sorted(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    shares = [0.2, 0.9, 0.6, 0.4, 0.7]
    bodies = [*(f"p {share}" for share in shares), "far", "bad"]
    give(page, *bodies)
    assert page.evaluate("document.activeElement.id") == "results-title"
    summary = page.locator("#summary span").all_inner_texts()
    assert summary == ["NORMAL 2", "PNEUMONIA 3", "no decision 1", "not read 1"]
    assert "Done. NORMAL 2, PNEUMONIA 3, no decision 1, not read 1." in text(page, "#announcer")
    page.locator("thead").get_by_role("button", name="PNEUMONIA").click()
    names = page.locator("tbody th").all_inner_texts()
    assert names[:5] == ["1.png", "4.png", "2.png", "3.png", "0.png"]
    header = page.locator("thead th", has_text="PNEUMONIA")
    assert header.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")  # the same button still has the focus
    assert page.locator("tbody th").all_inner_texts()[:5] == names[:5][::-1]
    assert "The file ends early" in page.locator("tr.failed td.reason").inner_text()
    page.locator("tbody button", has_text="2.png").press("Enter")
    assert text(page, "#result-title") == "2.png"
    page.get_by_role("button", name="Next").click()
    assert text(page, "#result-title") == "4.png"
    page.keyboard.press("ArrowLeft")
    assert text(page, "#result-title") == "2.png"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "2.png"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "4.png"


UNIT: dict[str, Any] = {
    "name": "patient", "plural": "patients",
    "temperature": 0.5, "bias": [0.0], "threshold": 0.7, "rule": "a rule of patients",
    "scores": [0.3, 0.3], "cut": None,
}  # fmt: skip


def test_images_of_one_patient_have_one_answer(opened: Opener, serve: Serve) -> None:
    page = opened(serve(unit=UNIT))
    give(page, "p 0.8", "bad", "p 0.7")
    assert not page.locator("#unit").is_visible()
    page.get_by_label("These images are of one patient").check()
    odds = ((0.8 / 0.2) * (0.7 / 0.3)) ** (1 / 2 / UNIT["temperature"])
    assert text(page, "#unit .decision") == "PNEUMONIA"
    shown = text(page, "#unit")
    assert f"{100 * odds / (1 + odds):.1f} % probability of PNEUMONIA" in shown
    assert "Decision threshold (the mark): 70 %; a rule of patients." in shown
    assert "of 100 patients with" in shown
    assert "From 2 images; 1 image without a prediction is not used." in shown
    assert "The patient: PNEUMONIA." in text(page, "#announcer")
    give(page, "p 0.15", "p 0.2")  # two that disagree
    assert text(page, "#unit .decision") == "No decision"
    assert "Ambiguous: no class fits well." in text(page, "#unit")
    page.locator("tbody button", has_text="0.png").first.press("Enter")
    page.get_by_role("button", name="All 5 images").click()
    assert text(page, "#unit .decision") == "No decision"
    page.get_by_role("button", name="Clear").click()
    give(page, "p 0.8", "p 0.9")  # perhaps of another patient
    assert not page.get_by_label("These images are of one patient").is_checked()
    assert not page.locator("#unit").is_visible()


def test_the_answer_for_a_patient_waits_for_all_images(opened: Opener, serve: Serve) -> None:
    released = threading.Event()

    def slow(body: bytes) -> Reply:
        if body == b"slow":
            released.wait(20)
        return predicted(prediction(0.9))

    page = opened(serve(slow, unit=UNIT))
    page.set_input_files("#files", files("p", "slow"))
    page.get_by_label("These images are of one patient").check()
    assert "Waiting for the predictions of all images" in text(page, "#unit")
    released.set()
    page.locator("#unit .decision").wait_for()
    assert "From 2 images." in text(page, "#unit")


def test_a_classifier_of_images_has_no_answer_for_patients(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    give(page, "p 0.8", "p 0.3")
    assert page.get_by_label("These images are of one patient").count() == 0


def test_a_click_on_a_row_opens_it(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    give(page, "p 0.8", "p 0.3")
    page.locator("tbody tr").nth(1).locator("td.outcome").click()
    assert text(page, ".decision") == "NORMAL"


def test_the_page_waits_for_a_busy_service(opened: Opener, serve: Serve) -> None:
    asked: list[float] = []

    def busy_at_first(body: bytes) -> Reply:
        asked.append(time.monotonic())
        return failed("Busy.", 429, Retry_After="1") if len(asked) == 1 else by_body(body)

    page = opened(serve(busy_at_first))
    page.set_input_files("#files", files("p 0.8"))
    page.locator(".decision").wait_for()
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 1


def test_a_failed_image_can_be_tried_again(opened: Opener, serve: Serve) -> None:
    failing = threading.Event()
    failing.set()

    def sometimes(body: bytes) -> Reply:
        if body == b"p 0.31" and failing.is_set():
            return 500, {}, "no object"
        return by_body(body)

    page = opened(serve(sometimes))
    give(page, "p 0.3", "p 0.31", "p 0.32")
    assert page.locator("tr.decided").count() == 2
    page.locator("tr.failed button").click()
    assert "The server responded with 500" in text(page, ".message")
    failing.clear()
    page.get_by_role("button", name="Try again").click()
    page.locator(".figure").wait_for()
    assert text(page, ".figure strong") == "31.0 %"


def test_predictions_can_be_cancelled_and_resumed(opened: Opener, serve: Serve) -> None:
    free = threading.Event()
    most, now, lock = [0], [0], threading.Lock()

    def slow(body: bytes) -> Reply:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        free.wait(8)
        with lock:
            now[0] -= 1
        return by_body(body)

    page = opened(serve(slow))
    page.set_input_files("#files", files(*["p 0.8"] * 12))
    page.locator("tr.running").nth(2).wait_for()
    assert text(page, "#progress-text") == "0 of 12 images"
    page.get_by_role("button", name="Cancel").click()
    page.locator("tr.cancelled").nth(11).wait_for()
    assert most[0] <= 3
    free.set()
    page.get_by_role("button", name="Resume").click()
    page.locator("tr.decided").nth(11).wait_for()
    page.locator("#resume").wait_for(state="hidden")
    page.get_by_role("button", name="Clear").click()
    assert page.locator("tbody tr").count() == 0
    assert page.locator("#results").is_hidden()
    assert page.evaluate("document.activeElement.id") == "choose-files"


def test_a_file_that_is_too_large_is_not_sent(opened: Opener, serve: Serve) -> None:
    page = opened(serve(limits={"bytes": 2**20, "pixels": 1, "files": 3}))
    give(page, "p " + "0" * 2**20)
    assert "The file has 1 MB; the limit is 1 MB." in text(page, ".message")
    assert not [path for path in serve.service.paths if "v1/predict" in path]  # type: ignore[attr-defined]
    give(page, *["p 0.7"] * 4)
    assert page.locator("tr.decided").count() == 4  # each in a request of its own


def test_images_beyond_the_limit_are_excluded(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    page.evaluate(
        """() => { const t = new DataTransfer();
        for (let i = 0; i < 2001; i += 1) t.items.add(new File(["p 0.8"], `${i}.png`));
        const field = document.getElementById("files");
        field.files = t.files;
        field.dispatchEvent(new Event("change"));
        document.getElementById("cancel").click(); }"""
    )
    assert "Only the first 2,000 images were added" in text(page, "#excluded")
    page.get_by_text("cancelled 2000").wait_for()


# Input


def test_images_can_be_dropped_and_pasted(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    make = """(names) => { const t = new DataTransfer();
        for (const n of names) t.items.add(new File(["p 0.8"], n, { type: "image/png" }));
        return t; }"""
    transfer = page.evaluate_handle(make, ["b10.png", "b9.png"])
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    assert "dragging" in page.locator("body").get_attribute("class")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    page.locator("tr.decided").nth(1).wait_for()
    assert page.locator("tbody th").all_inner_texts() == ["b9.png", "b10.png"]
    pasted = page.evaluate_handle(make, ["image.png"])
    page.evaluate(
        """(t) => document.dispatchEvent(
        new ClipboardEvent("paste", { clipboardData: t, bubbles: true }))""",
        pasted,
    )
    page.locator("tr.decided").nth(2).wait_for()


def test_a_folder_is_searched_for_images(opened: Opener, serve: Serve, tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b/2.JPG", "a/IM0001", "a/notes.txt", "a/.hidden.png", "a/DICOMDIR"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("p 0.8")
    page = opened(serve())
    page.set_input_files("#folder", tmp_path / "a")
    page.locator("tr.decided").nth(2).wait_for()
    assert page.locator("tbody th").all_inner_texts() == ["a/1.png", "a/b/2.JPG", "a/IM0001"]
    assert "Excluded 3 files of the folder" in text(page, "#excluded")


def test_the_keyboard_is_enough(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    choosers: list[Any] = []
    # Playwright marks the function that it calls, which a method of a list cannot bear.
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # noqa: PLW0108
    stops: list[str] = []
    for _ in range(12):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.textContent"))
        if stops[-1] == "Choose images":
            break
    assert (stops[0], stops[-1]) == ("Skip to the images", "Choose images")
    page.keyboard.press("Enter")
    for _ in range(100):
        if choosers:
            break
        page.wait_for_timeout(50)
    assert choosers[0].is_multiple()
    choosers[0].set_files(files("p 0.8", "p 0.2"))
    page.locator("tr.decided").nth(1).wait_for()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
        assert page.evaluate(outline) == "solid"  # the focus is always to be seen
        if reached[-1] == "0.png":
            break
    page.keyboard.press("Enter")
    assert text(page, "#result-title") == "0.png"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "map-on":
            break
    page.keyboard.press("Space")
    assert page.locator(".map").is_hidden()


# Token, report, unreachable services


def test_the_page_asks_for_a_token_and_sends_it(
    opened: Opener, serve: Serve, tmp_path: Path
) -> None:
    page = opened(serve(by_body, "sesame", report=True), ready=False)
    page.get_by_label("This server requires a token").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("Wrong token.").wait_for()
    page.get_by_label("This server requires a token").fill("sesame")
    page.keyboard.press("Enter")
    page.locator("#input").wait_for()
    give(page, "p 0.8")
    assert text(page, ".decision") == "PNEUMONIA"
    with page.expect_download() as saved:
        page.locator("#report").click()
    saved.value.save_as(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == "<p>report</p>"
    kept = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"
    assert page.evaluate(kept) == '[{},{},""]'


def test_without_a_token_the_report_is_a_link(opened: Opener, serve: Serve) -> None:
    page = opened(serve(report=True))
    with page.context.expect_page() as other:
        page.locator("#report").click()
    other.value.get_by_text("report").wait_for()
    page = opened(serve(report=False))
    assert page.locator("#report").is_hidden()


def test_an_unreachable_service_is_reported(opened: Opener, serve: Serve) -> None:
    page = opened(serve())
    page.context.set_offline(True)
    give(page, "p 0.8")
    assert "The server cannot be reached, or closed the connection." in text(page, ".message")
    page.context.set_offline(False)
    page.route("**/v1/classifier", lambda route: route.fulfill(status=503, json={"error": "Soon."}))
    page.reload()
    page.get_by_text("No connection. Soon.").wait_for()
    page.unroute("**/v1/classifier")
    page.get_by_role("button", name="Try again").click()
    page.locator("#input").wait_for()


# Hostile names

SPELLS = [
    '"><img src=x onerror=hit()>', "<script>hit()</script>", "<svg/onload=hit()>",
    "'-hit()-'", "javascript:hit()", "${hit()}", "{{hit()}}", "</button><iframe src=//x>",
    "<a href=javascript:hit()>x", '" onmouseover="hit()', "<style>*{display:none}</style>",
    "<base href=//evil.example>", "<form action=//evil.example>", "<!--", "]]>", "\u202egnp.exe",
    "\u2028", "&lt;img src=x onerror=hit()&gt;", "<math><mtext><img src=x onerror=hit()>",
    "<input autofocus onfocus=hit()>",
]  # fmt: skip


def payloads(count: int = 200) -> list[str]:
    """Return different hostile names: each spell with ten disguises."""
    shells = ["{}", "x{}", "{}x", " {} ", "%22{}", "'{}'", '"{}"', "`{}`", ">{}<", "{}{}"]
    return [shell.format(spell, spell) for spell in SPELLS for shell in shells][:count]


def foreign(page: Any) -> list[str]:
    """Return elements and attributes that the page itself never makes."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => [...document.querySelectorAll("*")].flatMap((e) => [
          ...(/^(script|style|iframe|object|embed|form|base|svg|math|link|meta)$/i.test(e.localName)
            && !document.head.contains(e) ? [e.localName] : []),
          ...[...e.attributes].filter((a) => /^on|^srcdoc$|^formaction$/i.test(a.name)
            || /^\\s*javascript:/i.test(a.value)).map((a) => a.name),
          ...(e.localName === "img" && !/^(blob:|data:image)/.test(e.src) ? [e.src] : [])])"""
    )


def test_hostile_names_and_messages_are_only_text(opened: Opener, serve: Serve) -> None:
    names = payloads()
    assert len(set(names)) == 200
    words = iter(names * 2)
    lock = threading.Lock()

    def hostile(body: bytes) -> Reply:
        with lock:
            word = next(words)
        if body == b"far":
            return predicted(prediction(0.9, decision=None, reason=word))
        return failed(word) if body == b"bad" else by_body(body)

    page = opened(serve(hostile))
    page.evaluate("void (window.hit = () => { window.struck = true; })")
    bodies = [("p 0.8", "far", "bad")[i % 3] for i in range(200)]
    before = page.evaluate("document.querySelectorAll('body *').length")
    give(page, *bodies, names=[f"{name}.png".replace("/", "∕") for name in names])
    assert page.locator("tbody tr").count() == 200
    assert foreign(page) == []
    for i in (0, 1, 2, 150):
        page.locator("tbody button").nth(i).click()
        assert foreign(page) == []
        page.keyboard.press("Escape")
    shown = page.locator("tbody th").all_inner_texts()
    assert [each for each in shown if "\u202e" in each or "\u2028" in each] == []
    assert any("\\u202e" in each for each in shown)
    assert page.evaluate("document.querySelectorAll('body *').length") > before
    assert page.evaluate("window.struck") is None


@pytest.mark.parametrize("part", range(4))
def test_hostile_class_names_are_only_text(opened: Opener, serve: Serve, part: int) -> None:
    labels = tuple(payloads()[part * 50 : part * 50 + 50])
    kinds = labels if part else labels[:2]
    near = [{"label": labels[3], "distance": 0.1, "image": "javascript:hit()"}]
    url = serve(
        lambda _: predicted(prediction(0.8, kinds, neighbours=near)),
        classes=list(kinds),
        positive=None if part else kinds[1],
        prevalence=None if part else 0.5,
        name=labels[0],
        rule=labels[1],
        meaning=labels[2],
        version=labels[3],
        sha256=labels[4],
        explanation={"informative": False, "sentence": labels[5], "scale": 1, "method": labels[6]},
    )
    page = opened(url)
    page.evaluate("void (window.hit = () => { window.struck = true; })")
    give(page, "x")
    assert page.locator(".neighbours img").count() == 0  # what is not an image is not requested
    assert foreign(page) == []
    give(page, "x", "x")
    assert foreign(page) == []
    assert page.evaluate("window.struck") is None


# Downloads


def test_the_csv_is_that_of_the_command_and_holds_no_formulas(
    opened: Opener, serve: Serve, tmp_path: Path
) -> None:
    page = opened(serve())
    names = ["=1+1.png", "+2.png", "-3.png", "@SUM(A1).png", 'a,"b"\n.png', "plain.png", "far.png"]
    bodies = ["p 0.25"] * 5 + ["bad", "far"]
    give(page, *bodies, names=names)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    assert saved.value.suggested_filename == "lucency-small.csv"
    saved.value.save_as(tmp_path / "a.csv")
    content = (tmp_path / "a.csv").read_bytes().decode()
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(content, newline=""))}
    assert content.splitlines()[0] == "file,decision,p_NORMAL,p_PNEUMONIA,reason,notes"
    assert not [
        cell for row in rows.values() for cell in row.values() if cell[:1] in "=+-@" and cell
    ]
    assert rows["'=1+1.png"]["decision"] == "NORMAL"
    assert float(rows["'=1+1.png"]["p_PNEUMONIA"]) == 0.25
    assert rows['a,"b"\n.png']["p_NORMAL"] == "0.75"
    assert rows["plain.png"] == {
        "file": "plain.png", "decision": "", "p_NORMAL": "", "p_PNEUMONIA": "",
        "reason": "The file ends early: get it again.", "notes": "",
    }  # fmt: skip
    assert rows["far.png"]["decision"] == ""
    assert float(rows["far.png"]["p_PNEUMONIA"]) == 0.97
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download JSON").click()
    saved.value.save_as(tmp_path / "a.json")
    found = {each["file"]: each for each in json.loads((tmp_path / "a.json").read_text())}
    assert found["plain.png"]["probabilities"] is None
    keys = ["file", "decision", "probabilities", "reason", "prediction_set", "ood_score", "notes"]
    assert [*found["far.png"]] == [*found["plain.png"]] == keys
    assert found["far.png"]["reason"] == FAR


# Accessibility

CONTRAST = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number);
    return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1]; };
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } };
  const low = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.disabled || e.closest(".visually-hidden")) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([e.textContent.slice(0, 40), ratio.toFixed(2)]);
  }
  return low; }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(opened: Opener, serve: Serve, scheme: str) -> None:
    page = opened(serve(report=True), color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []
    give(page, "p 0.8")
    assert page.evaluate(CONTRAST) == []
    give(page, "far", "bad")
    assert page.evaluate(CONTRAST) == []
    for kind in ("abstained", "failed"):
        page.locator(f"tr.{kind} button").click()
        assert page.evaluate(CONTRAST) == []
        page.keyboard.press("Escape")


def test_the_theme_follows_the_system_or_the_person(opened: Opener, serve: Serve) -> None:
    page = opened(serve(), color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == "rgb(255, 255, 255)" != dark
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert text(page, "#theme") == "Theme: dark"
    assert page.evaluate(ground) == dark


@pytest.mark.parametrize("width", [360, 800])
def test_nothing_is_wider_than_the_screen(opened: Opener, serve: Serve, width: int) -> None:
    page = opened(serve(), viewport={"width": width, "height": 640})
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == width
    give(page, "p 0.8", names=["a" * 120 + ".png"])
    assert page.evaluate(wide) == width
    give(page, "far", "bad")
    assert page.evaluate(wide) == width
    notice = page.locator(".disclaimer")
    for place in ("0", "document.body.scrollHeight"):
        page.evaluate(f"window.scrollTo(0, {place})")
        box = notice.bounding_box()
        assert 0 <= box["y"] <= 640 - box["height"] + 1
    assert "Research use only; not a medical device." in notice.inner_text()


def test_all_controls_have_names_and_landmarks(opened: Opener, serve: Serve) -> None:
    page = opened(serve(report=True))
    give(page, "p 0.8", "far", "bad")
    page.locator("tr.decided button").click()
    landmarks = page.locator("body").aria_snapshot()
    for role in ("banner", "main", "contentinfo", 'navigation "This classifier"'):
        assert f"- {role}" in landmarks, role
    client = page.context.new_cdp_session(page)
    nodes = client.send("Accessibility.getFullAXTree")["nodes"]
    needs = {
        "button",
        "link",
        "checkbox",
        "slider",
        "spinbutton",
        "textbox",
        "image",
        "progressbar",
    }
    used = [node for node in nodes if node["role"]["value"] in needs and not node["ignored"]]
    assert len(used) > 12
    assert [n for n in used if not n.get("name", {}).get("value", "").strip()] == []
    levels = page.evaluate(
        """() => [...document.querySelectorAll("h1,h2,h3,h4")].filter((h) => h.checkVisibility())
        .map((h) => Number(h.localName[1]))"""
    )
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_a_printed_page_has_the_decision_and_the_disclaimer(opened: Opener, serve: Serve) -> None:
    page = opened(serve(), color_scheme="dark")
    give(page, "p 0.8")
    page.emulate_media(media="print")
    assert page.locator("#input").is_hidden()
    assert page.locator(".decision").is_visible()
    assert page.locator(".disclaimer").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"

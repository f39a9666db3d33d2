"""How often the intervals contain the true value, on few simulated test sets.

``python -m benchmarks coverage`` does the same with 2,000 test sets of more kinds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.trust.coverage import SETTINGS, Setting, covered, inside_null_band

RUNS = 200
RARE = 1e-5  # chance that one of these tests rejects a valid interval, for any seed
# The worst valid interval covers 93 %; one that covers 75 % is found in 99 of 100 seeds.
FEWEST = stats.binom.ppf(RARE, RUNS, 0.93)


@pytest.mark.parametrize(
    "setting", [Setting(2, 0.85, True, 200), Setting(3, 0.9, True, 200)], ids=str
)
def test_intervals_contain_the_true_value(setting: Setting) -> None:
    found = covered(setting, RUNS, many=100_000)
    assert {"auroc", "sensitivity", "f1", "lr_plus", "brier", "calibration_slope"} <= set(found)
    assert "ece" not in found
    for name, (contained, intervals, _) in found.items():
        assert intervals == RUNS, name
        assert contained >= FEWEST, name


@pytest.mark.parametrize("alike", [False, True])
def test_calibrated_probabilities_are_in_their_null_band(alike: bool) -> None:
    inside = inside_null_band(Setting(2, 0.85, alike, 200), RUNS)
    assert inside >= stats.binom.ppf(RARE, RUNS, 0.94)


def test_settings_have_their_names() -> None:
    assert len(SETTINGS) == 18
    assert str(SETTINGS[0]) == "2 classes, 0.97, one image per patient, n=50"

"""False alarms and power of the regression check run at toy size."""

from __future__ import annotations

import json

import numpy as np
import regression_check


def test_simulated_and_real_pairs_are_counted(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["regression_check.py", "--simulations", "20", "--real", "1", "--runs", "4"])
    monkeypatch.setattr(regression_check, "WORK", "pass")
    regression_check.main()
    report = json.loads(capsys.readouterr().out)
    assert [each["spread"] for each in report["simulated"]] == list(regression_check.SPREADS)
    assert all(0 <= each["false_alarms"] <= each["false_alarms_at_margin_1"] <= 0.25 for each in report["simulated"])
    assert all(each["power"] >= 0.4 for each in report["simulated"])
    assert (report["real"]["pairs"], report["real"]["runs"]) == (1, 4)


def test_noise_has_slow_outliers():
    times = np.log(regression_check.noise(np.random.default_rng(0), 10_000, 0.01))
    assert 0.03 < np.mean(times > 0.05) < 0.06
    assert np.mean(times < -0.05) == 0

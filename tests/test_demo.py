import json
import subprocess
import sys

import pytest

from etesian.bench import InputError


@pytest.fixture(scope="module")
def folder_and_output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "etesian", "demo", "--seeds", "1", "--json", "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return folder, json.loads(done.stdout)


def test_demo_says_what_each_schedule_took_and_whether_it_has_the_serial_bits(folder_and_output):
    _, found = folder_and_output
    assert list(found["schedules"]) == ["serial", "conflict_free", "lock_free"]
    for schedule in found["schedules"].values():
        assert (schedule["runs"], schedule["reached"]) == (1, 1)
        assert schedule["seconds_to_target"] > 0
    assert found["schedules"]["conflict_free"]["bitwise_equal_to_serial"] is True


def test_demo_finds_words_that_belong_together(folder_and_output):
    _, found = folder_and_output
    assert {"week", "month", "year"} & set(found["neighbors"]["day"])


def test_demo_writes_its_report(folder_and_output):
    folder, _ = folder_and_output
    page = (folder / "report.html").read_text()
    assert "conflict_free" in page
    assert "Word vectors by three schedules" in page


def test_demo_without_the_report_extra_says_so_before_it_runs(tmp_path, monkeypatch):
    from etesian import demo

    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "plotly" else object())
    with pytest.raises(InputError, match=r"needs plotly: pip install 'etesian\[report\]'"):
        demo.demo(tmp_path, n_seeds=1, console=None)

import numpy as np
import pytest

from etesian.bench import Target, check_workload, run
from etesian.sparse import count_cooccurrences
from etesian.suite import words as words_module
from etesian.suite.words import WordVectors, load_counts, save_counts, words


@pytest.fixture
def counts(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    text = [[f"w{i}" for i in (200 * rng.random(12) ** 2).astype(int)] for _ in range(400)]
    monkeypatch.setattr(words_module, "sentences", lambda progress=None: iter(text))
    return str(save_counts(tmp_path))


@pytest.mark.parametrize("schedule", ["serial", "conflict_free"])
def test_workload_keeps_the_contract(counts, schedule):
    assert check_workload(WordVectors(schedule, counts, n_jobs=2)) == []


def run_to(counts, schedule, threshold=0.9):
    return run(WordVectors(schedule, counts, n_jobs=2), Target("r2", threshold), seed=3)


def test_conflict_free_run_has_the_serial_fingerprints_at_every_epoch(counts):
    serial, parallel = run_to(counts, "serial"), run_to(counts, "conflict_free")
    assert serial.outcome == "reached"
    assert [p.metrics for p in serial.points] == [p.metrics for p in parallel.points]
    assert len({p.metrics["fingerprint"] for p in serial.points}) == len(serial.points)


def test_run_is_exhausted_after_its_last_epoch(counts, monkeypatch):
    monkeypatch.setattr(words_module, "MAX_EPOCHS", 3)
    ended = run_to(counts, "serial", threshold=1.0)
    assert (ended.outcome, ended.points[-1].slices) == ("exhausted", 3)


def test_counts_can_be_read_back(counts):
    rng = np.random.default_rng(0)
    text = [[f"w{i}" for i in (200 * rng.random(12) ** 2).astype(int)] for _ in range(400)]
    counted, read = count_cooccurrences(text, window=10, min_count=5), load_counts(counts)
    assert counted.words == read.words
    assert (counted.left == read.left).all()
    assert (counted.count == read.count).all()


def test_counted_text_is_kept_and_not_counted_again(counts, tmp_path, monkeypatch):
    monkeypatch.setattr(words_module, "sentences", None)
    suite = words(tmp_path)
    assert [workload.name for workload in suite.workloads] == ["serial", "conflict_free", "lock_free"]

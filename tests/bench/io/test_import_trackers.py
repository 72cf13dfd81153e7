"""Experiment trackers: TensorBoard, MLflow and Weights & Biases, by hand, by their own output and by a server in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from import_cases import (
    LOSS,
    TENSORBOARD,
    WANDB_CHART,
    one_run,
    reasons,
    record,
    scalar_event,
    sort_out,
    write,
    write_mlflow_database,
    write_mlruns,
)

from etesian.bench import InputError, Target
from etesian.bench.io import read_mlflow, read_tensorboard, read_wandb
from etesian.bench.io._reading.curves import split_name
from etesian.bench.io.importers.tensorboard.records import checksum

# Written by tensorboard 2.21: loss 4, 3.5, 3 as simple values, acc as float tensors, lr as doubles, at steps 0, 10, 20.
WRITTEN_BY_TENSORBOARD = bytes.fromhex(
    "4800000000000000fe92489d098fc881b30fc1da411a0d627261696e2e4576656e743a32522e0a2c74656e736f72626f6172642e73756d6d6172792e"
    "7772697465722e6576656e745f66696c655f777269746572a2d12a92520000000000000025eb07b709ae0e82b30fc1da412a470a0b0a046c6f737315"
    "000080400a220a03616363420808012a04000000004a110a090a077363616c6172731201611a01620a140a026c72420e080212002208000000000000"
    "f03fe4c0324c54000000000000005f51458709ae0ec2b30fc1da41100a2a470a0b0a046c6f737315000060400a220a03616363420808012a04000080"
    "3e4a110a090a077363616c6172731201611a01620a140a026c72420e0802120022089a9999999999b93f9fafefe054000000000000005f51458709ae"
    "0e02b40fc1da4110142a470a0b0a046c6f737315000040400a220a03616363420808012a040000003f4a110a090a077363616c6172731201611a0162"
    "0a140a026c72420e0802120022087c14ae47e17a843fb2c1310d"
)


def test_checksum_is_the_published_one() -> None:
    crc = 0xE3069283  # CRC-32C of the digits, RFC 3720, appendix B.4; masked as TensorFlow does
    assert checksum(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_file_that_tensorboard_wrote_is_read(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "adam" / "seed_3" / "events.out.tfevents.1.host.1.0", WRITTEN_BY_TENSORBOARD)
    run = one_run(read_tensorboard(tmp_path / "runs", target=LOSS))
    assert (run.workload, run.seed, run.outcome) == ("adam", 3, "reached")
    assert [point.slices for point in run.points] == [0, 10, 20]
    assert [point.metrics["loss"] for point in run.points] == [4.0, 3.5, 3.0]
    assert [point.metrics["acc"] for point in run.points] == [0.0, 0.25, 0.5]
    assert [point.metrics["lr"] for point in run.points] == pytest.approx([1.0, 0.1, 0.01])
    assert [point.seconds for point in run.points] == pytest.approx([0, 1, 2], abs=0.01)


def test_several_files_of_a_folder_are_one_run_on_one_clock(tmp_path: Path) -> None:
    write(tmp_path / "events.out.tfevents.1", TENSORBOARD)
    write(tmp_path / "events.out.tfevents.2", record(scalar_event(1100.0, 200, "loss", 2.5)))
    run = one_run(read_tensorboard(tmp_path, target=Target("loss", 2.6, "at_most")))
    assert (run.seconds, run.points[-1].slices) == (100.0, 200)


def test_clock_may_be_a_metric(tmp_path: Path) -> None:
    events = [
        scalar_event(5.0 + i, i, tag, value)
        for i, pair in enumerate([(4, 10), (2, 20)])
        for tag, value in zip(("loss", "time"), pair, strict=True)
    ]
    write(tmp_path / "events.out.tfevents.1", b"".join(map(record, events)))
    assert one_run(read_tensorboard(tmp_path, target=LOSS, clock="time")).seconds == 20.0


def test_killed_writer_leaves_a_failed_run(tmp_path: Path) -> None:
    write(tmp_path / "events.out.tfevents.1", TENSORBOARD[:-5])
    run = one_run(read_tensorboard(tmp_path, target=LOSS))
    assert (run.outcome, len(run.points)) == ("failed", 2)
    assert run.error == "events.out.tfevents.1 ends within record 4"


@pytest.mark.parametrize("place", range(0, len(TENSORBOARD), 7))
def test_every_flipped_bit_is_noticed(place: int, tmp_path: Path) -> None:
    damaged = bytearray(TENSORBOARD)
    damaged[place] ^= 0x10
    (reason,) = reasons(read_tensorboard(write(tmp_path / "events.out.tfevents.1", bytes(damaged)), target=LOSS))
    assert "checksum" in reason


def test_missing_tag_is_named_with_those_there(tmp_path: Path) -> None:
    write(tmp_path / "events.out.tfevents.1", TENSORBOARD)
    assert reasons(read_tensorboard(tmp_path, target=Target("acc", 1))) == ["has no metric 'acc'; its metrics are loss"]


@pytest.mark.parametrize(
    ("name", "entry", "number"),
    [
        ("adam/seed_3", "adam", 3),
        ("adam-run-12", "adam", 12),
        ("adam/7", "adam", 7),
        ("adam trial=2", "adam", 2),
        ("adam-lr-0.1", "adam-lr-0.1", None),
        ("resnet_50", "resnet_50", None),
    ],
)
def test_number_of_the_repeat_is_taken_off_a_name(name: str, entry: str, number: int | None) -> None:
    assert split_name(name) == (entry, number)


def test_files_of_mlflow(tmp_path: Path) -> None:
    run = one_run(read_mlflow(write_mlruns(tmp_path / "mlruns"), target=LOSS))
    assert (run.workload, run.seed, run.seconds) == ("adam", 3, 2.0)  # 3000 ms - 1000 ms
    assert run.details["params"] == {"lr": "0.1"}


@pytest.mark.parametrize(("status", "outcome"), [(3, "exhausted"), (4, "failed"), (5, "failed")])
def test_status_of_mlflow_separates_failed_from_finished(status: int, outcome: str, tmp_path: Path) -> None:
    write_mlruns(tmp_path, status=status, values="1000 4.0 0\n")
    assert one_run(read_mlflow(tmp_path, target=LOSS)).outcome == outcome


def test_unfinished_run_is_skipped(tmp_path: Path) -> None:
    assert reasons(read_mlflow(write_mlruns(tmp_path, status=1), target=LOSS)) == [
        "has not ended; import it when it has"
    ]


def test_malformed_metric_is_named_with_its_line(tmp_path: Path) -> None:
    assert reasons(read_mlflow(write_mlruns(tmp_path, values="1000 4.0 0\nx\n"), target=LOSS)) == [
        "metrics/loss, line 2: must hold time, value and step; got 'x'"
    ]


def test_database_of_mlflow(tmp_path: Path) -> None:
    path = write_mlflow_database(tmp_path / "mlflow.db")
    found = list(read_mlflow(f"sqlite:///{path}", target=LOSS, clock="train_time", entry="opt"))
    (adam,), (skipped,), (deleted,) = sort_out(found)
    assert (adam.workload, adam.seed, adam.seconds) == ("adam", 17, 1.5)
    assert adam.points[1].metrics["lr"] == float("inf")
    assert "has no metric 'train_time'; its metrics are loss" in skipped.reason
    assert (deleted.path.endswith("run ghi"), deleted.reason) == (True, "is deleted")
    failed = sort_out(read_mlflow(path, target=LOSS))[0][1]
    assert failed.outcome == "failed"


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as a tracking store of MLflow"):
        list(read_mlflow(write(tmp_path / "x.db", "no database"), target=LOSS))


class FakeServer(BaseHTTPRequestHandler):
    """Answers as MLflow's server does, histories in pages of one value."""

    def do_POST(self) -> None:
        if self.path.endswith("experiments/search"):
            self.answer({"experiments": [{"experiment_id": "1", "name": "digits"}]})
        else:
            info = {
                "run_id": "abc",
                "run_name": "adam-seed-3",
                "experiment_id": "1",
                "status": "FINISHED",
                "start_time": 1000,
            }
            data = {"metrics": [{"key": "loss"}], "params": [{"key": "seed", "value": "5"}]}
            self.answer({"runs": [{"info": info, "data": data}]})

    def do_GET(self) -> None:
        first = "page_token" not in parse_qs(urlsplit(self.path).query)
        value = {
            "key": "loss",
            "value": 4.0 if first else 2.0,
            "timestamp": "1500" if first else "2500",
            "step": str(int(not first)),
        }
        self.answer({"metrics": [value]} | ({"next_page_token": "t"} if first else {}))

    def answer(self, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), FakeServer) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_server_of_mlflow(server: str) -> None:
    run = one_run(read_mlflow(server, target=LOSS))
    assert (run.workload, run.seed, run.seconds, len(run.points)) == ("adam", 5, 1.5, 2)


def test_server_that_is_none_is_the_users_mistake() -> None:
    with pytest.raises(InputError, match=r"the tracking server http://127\.0\.0\.1:9 cannot be read"):
        list(read_mlflow("http://127.0.0.1:9", target=LOSS))
    with pytest.raises(InputError, match="begins with http"):
        list(read_mlflow("ftp://127.0.0.1", target=LOSS))


def test_chart_of_weights_and_biases(tmp_path: Path) -> None:
    adam, sgd = sort_out(read_wandb(write(tmp_path / "chart.csv", WANDB_CHART), target=LOSS))[0]
    assert (adam.workload, adam.seed, adam.seconds, adam.outcome) == ("adam", 3, 20.5, "reached")
    assert (sgd.workload, sgd.seed, sgd.outcome, len(sgd.points)) == ("sgd", 1, "exhausted", 1)


def test_history_and_table_of_weights_and_biases(tmp_path: Path) -> None:
    history = "_step,_runtime,loss,picture\n0,1.5,4,x.png\n5,2.5,,\n10,3.5,2.5,y.png\n"
    run = one_run(read_wandb(write(tmp_path / "adam-seed-2.csv", history), target=LOSS))
    assert (run.workload, run.seed, run.seconds, run.points[-1].slices) == ("adam", 2, 3.5, 10)
    table = "Name,State,Runtime,loss,lr\nadam-run-1,finished,100,2.5,0.1\nadam-run-2,crashed,50,3.5,0.1\n"
    first, second = sort_out(read_wandb(write(tmp_path / "table.csv", table), target=LOSS))[0]
    assert (first.outcome, first.seconds, first.details["lr"]) == ("reached", 100.0, "0.1")
    assert (second.outcome, second.error) == ("failed", "Weights & Biases calls the run crashed")


def test_chart_over_steps_has_no_time(tmp_path: Path) -> None:
    (reason,) = reasons(read_wandb(write(tmp_path / "c.csv", '"Step","adam - loss"\n"1","2"\n'), target=LOSS))
    assert "has no time in it: export a chart with relative time on its x axis" in reason


def tracked(root: Path, run_id: str, values: str, seed: str = "42", start: int = 1000) -> None:
    write(root / "1" / "meta.yaml", "experiment_id: '1'\nname: digits\nlifecycle_stage: active\n")
    meta = f"run_id: {run_id}\nrun_name: adam\nstatus: 3\nstart_time: {start}\nlifecycle_stage: active\n"
    write(root / "1" / run_id / "meta.yaml", meta)
    write(root / "1" / run_id / "metrics" / "acc", values)
    write(root / "1" / run_id / "params" / "seed", seed)


ACC = Target("acc", 0.9)


def test_points_with_step_0_are_ordered_by_time(tmp_path: Path) -> None:
    tracked(tmp_path, "a", "31000 0.89 0\n11000 0.7 0\n21000 0.91 0\n")
    run = one_run(read_mlflow(tmp_path, target=ACC))
    assert (run.seconds, [point.metrics["acc"] for point in run.points]) == (20.0, [0.7, 0.91, 0.89])
    events = b"".join(record(scalar_event(1000.0 + t, 0, "acc", v)) for t, v in [(10, 0.7), (20, 0.91), (30, 0.89)])
    write(tmp_path / "tb" / "events.out.tfevents.1", record(scalar_event(1000.0, 0, "lr", 0.1)) + events)
    run = one_run(read_tensorboard(tmp_path / "tb", target=ACC))
    assert (run.seconds, len(run.points)) == (20.0, 3)


def test_repeats_that_logged_the_same_seed_differ_by_their_id(tmp_path: Path) -> None:
    for number in range(5):
        tracked(tmp_path, f"run{number}", f"11000 0.7 1\n{21000 + number} 0.92 2\n")
    runs, skipped, _ = sort_out(read_mlflow(tmp_path, target=ACC))
    assert not skipped
    assert len({run.seed for run in runs}) == 5
    assert [run.details["params"]["seed"] for run in runs] == ["42"] * 5
    assert runs[0].seed == 42


def test_steps_lost_to_a_restart_and_long_gaps_are_named(tmp_path: Path) -> None:
    times = [(11, 0.1, 1), (21, 0.2, 2), (31, 0.3, 3), (41, 0.4, 4), (5041, 0.3, 3), (5051, 0.95, 4)]
    tracked(tmp_path, "a", "".join(f"{1000 * t} {v} {step}\n" for t, v, step in times))
    notes = one_run(read_mlflow(tmp_path, target=ACC)).details["notes"]
    assert "step 3 follows step 4 at measurement 5: the run was resumed from a checkpoint" in notes[0]
    assert "5000 s pass before measurement 5" in notes[1]


def test_percent_against_a_fraction_is_refused_by_every_tracker(tmp_path: Path) -> None:
    tracked(tmp_path, "a", "11000 70 1\n21000 92 2\n")
    assert "--target 'acc>=90.0'" in reasons(read_mlflow(tmp_path, target=ACC))[0]
    chart = '"Relative Time (Process)","adam - acc"\n"10","70"\n"20","92"\n'
    assert "--target 'acc>=90.0'" in reasons(read_wandb(write(tmp_path / "c.csv", chart), target=ACC))[0]


def test_mean_of_a_group_is_not_a_run(tmp_path: Path) -> None:
    head = '"Relative Time (Process)","adam - acc","adam - acc__MIN","adam - acc__MAX"\n'
    group = write(tmp_path / "g.csv", head + '"10","0.7","0.66","0.74"\n"20","0.92","0.9","0.93"\n')
    assert "is the mean of a group of runs" in reasons(read_wandb(group, target=ACC))[0]
    single = write(tmp_path / "s.csv", head + '"10","0.7","0.7","0.7"\n"20","0.92","0.92","0.92"\n')
    assert one_run(read_wandb(single, target=ACC)).seconds == 20.0


def test_history_of_several_runs_is_refused(tmp_path: Path) -> None:
    rows = "a,0,1,0.5\na,1,10,0.95\nb,0,11,0.5\nb,1,20,0.95\n"
    (said,) = reasons(read_wandb(write(tmp_path / "h.csv", "run_id,_step,_runtime,acc\n" + rows), target=ACC))
    assert "holds several runs by its column 'run_id'; use import csv" in said
    (said,) = reasons(read_wandb(write(tmp_path / "h.csv", "who,_step,_runtime,acc\n" + rows), target=ACC))
    assert "_step goes back from 1 to 0 at line 4" in said


def test_run_that_is_not_over_is_not_taken_for_one_that_never_arrives(tmp_path: Path) -> None:
    table = "Name,State,Runtime,acc\nadam-run-1,running,100,0.5\n"
    assert reasons(read_wandb(write(tmp_path / "t.csv", table), target=ACC)) == [
        "is running; export it when it has ended"
    ]


def test_measurements_logged_together_have_no_times(tmp_path: Path) -> None:
    tracked(tmp_path, "a", "21000 0.7 1\n21000 0.95 2\n")
    assert "all 2 measurements have the time 20 s" in reasons(read_mlflow(tmp_path, target=ACC))[0]


def test_two_runs_in_one_folder_of_tensorboard_are_refused(tmp_path: Path) -> None:
    for number, start in enumerate((1000.0, 2000.0)):
        events = [record(scalar_event(start + 10 * step, step, "acc", 0.5 + step / 10)) for step in range(3)]
        write(tmp_path / f"events.out.tfevents.{number}", b"".join(events))
    (said,) = reasons(read_tensorboard(tmp_path, target=ACC))
    assert "events.out.tfevents.1 begins again at step 0, after a file that reached step 2: two runs" in said

"""Tables in the shapes that people have: dialects, units, clocks and runs are read correctly, or refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from import_cases import one_run, reasons, sort_out, write

from etesian.bench import InputError, Run, Target
from etesian.bench.io import Columns, read_csv

TARGET = Target("accuracy", 0.9)
CURVE = [(10.0, 0.70), (20.0, 0.88), (30.0, 0.92)]


def table(head: str = "workload,seed,seconds,accuracy", row: str = "adam,{s},{t},{a}", seeds: int = 3) -> str:
    rows = [row.format(s=s, t=t, a=a, p=100 * a, m=f"00:00:{t:04.1f}") for s in range(seeds) for t, a in CURVE]
    return "\n".join([head, *rows]) + "\n"


def read(folder: Path, content: str | bytes, name: str = "t.csv", *columns: str) -> list[Run]:
    found = read_csv(write(folder / name, content), columns=Columns.parse(columns), target=TARGET)
    runs, skipped, _ = sort_out(found)
    assert not skipped
    return runs


def reason(folder: Path, content: str | bytes, *columns: str, target: Target = TARGET) -> str:
    return reasons(read_csv(write(folder / "t.csv", content), columns=Columns.parse(columns), target=target))[0]


def times(runs: list[Run]) -> list[float | None]:
    return [run.seconds for run in runs]


def zipped(content: bytes, members: int = 1) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for number in range(members):
            file.writestr(f"t{number}.csv", content)
    return packed.getvalue()


def zstandard(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard, zipped])
def test_compression_is_detected_by_content(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    assert times(read(tmp_path, pack(table().encode()), "t.csv")) == [30.0] * 3


def test_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    assert "is a ZIP archive of 2 files; extract it" in reason(tmp_path, zipped(table().encode(), 2))


def test_small_file_that_grows_is_refused(tmp_path: Path) -> None:
    assert "larger than 4,194,304 bytes" in reason(tmp_path, gzip.compress(b"0" * (1 << 23)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_read(encoding: str, tmp_path: Path) -> None:
    assert times(read(tmp_path, table(row="ädam,{s},{t},{a}").encode(encoding))) == [30.0] * 3


def test_encodings_without_a_mark_are_named(tmp_path: Path) -> None:
    assert "UTF-16 without a byte order mark" in reason(tmp_path, table().encode("utf-16-le"))
    assert "line 2 is not UTF-8" in reason(tmp_path, table(row="ädam,{s},{t},{a}").encode("latin-1"))


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_delimiters_are_found(sign: str, tmp_path: Path) -> None:
    assert times(read(tmp_path, table().replace(",", sign))) == [30.0] * 3


def test_delimiter_within_quotes_does_not_count(tmp_path: Path) -> None:
    content = 'workload;seconds;accuracy;note\n"a;b";10;0.95;"1,2;3"\n"a;b";20;0.97;"1,2;3"\n'
    (run,) = read(tmp_path, content)
    assert (run.workload, run.seconds, run.details["note"]) == ("a;b", 10.0, "1,2;3")


def test_excel_states_the_delimiter(tmp_path: Path) -> None:
    assert times(read(tmp_path, "sep=;\n" + table().replace(",", ";"))) == [30.0] * 3


def test_decimal_commas_are_read_where_they_are_certain(tmp_path: Path) -> None:
    runs = read(tmp_path, table().replace(",", ";").replace(".", ","))
    assert times(runs) == [30.0] * 3
    assert runs[0].points[1].metrics["accuracy"] == 0.88


def test_comma_that_may_be_decimal_or_thousands_is_refused(tmp_path: Path) -> None:
    ambiguous = "workload;seconds;accuracy\na;1,234;1\na;2,345;1\n"
    assert "'1,234' may have a decimal comma or a thousands separator" in reason(tmp_path, ambiguous)


@pytest.mark.parametrize(
    "start",
    [
        "# made by a program\n# lr=0.1\n",
        "\n\n",
        '#{"t_start": 1.5, "note": "a, b"}\n',
        "# workload,seed,seconds,accuracy\n",
    ],
)
def test_comments_before_the_header_are_left_out(start: str, tmp_path: Path) -> None:
    assert times(read(tmp_path, start + table())) == [30.0] * 3


def test_header_may_stand_in_a_comment(tmp_path: Path) -> None:
    (run,) = read(tmp_path, "# by numpy.savetxt\n# seconds,accuracy\n10,0.7\n20,0.95\n")
    assert run.seconds == 20.0


def test_other_separators_are_named(tmp_path: Path) -> None:
    assert "split by spaces" in reason(tmp_path, table().replace(",", "  "))
    assert "carriage returns alone" in reason(tmp_path, table().replace("\n", "\r"))


def test_percent_signs_are_read_exactly(tmp_path: Path) -> None:
    (run,) = read(tmp_path, "seconds,accuracy\n10,50%\n20,93.7 %\n")
    assert run.points[1].metrics["accuracy"] == 0.937  # 93.7 / 100 is another float


@pytest.mark.parametrize("word", ["None", "null", "NA", "N/A", "n.a.", "-", "--"])
def test_words_for_missing_values_leave_a_measurement_out(word: str, tmp_path: Path) -> None:
    runs = read(tmp_path, table().replace("adam,1,10.0,0.7\n", f"adam,1,10.0,{word}\n"))
    assert [len(run.points) for run in runs] == [3, 2, 3]


def test_other_words_among_numbers_are_named(tmp_path: Path) -> None:
    runs, (skipped,), _ = sort_out(
        read_csv(write(tmp_path / "t.csv", table().replace("1,20.0,0.88", "1,20.0,crash")), target=TARGET)
    )
    assert len(runs) == 2
    assert "line 6: accuracy must be a number; got 'crash'" in skipped.reason


def test_repeated_headers_are_left_out(tmp_path: Path) -> None:
    lines = table().splitlines()
    assert times(read(tmp_path, "\n".join([*lines[:5], lines[0], *lines[5:]]))) == [30.0] * 3


@pytest.mark.parametrize("column", ["run_id", "trial", "id", "Trial_ID", "repeat", "Run ID", "runId", "Seed"])
def test_columns_that_distinguish_runs_are_recognized(column: str, tmp_path: Path) -> None:
    runs = read(tmp_path, table(f"workload,{column},seconds,accuracy"))
    assert times(runs) == [30.0] * 3
    assert len({run.seed for run in runs}) == 3


def test_runs_that_share_a_seed_are_kept_apart_by_their_id(tmp_path: Path) -> None:
    runs = read(tmp_path, table("workload,run_id,seed,seconds,accuracy", "adam,r{s},42,{t},{a}"))
    assert times(runs) == [30.0] * 3
    assert len({run.seed for run in runs}) == 3


def test_number_of_the_row_is_not_taken_for_a_run(tmp_path: Path) -> None:
    rows = "id,workload,seed,seconds,accuracy\n1,adam,0,10,0.7\n2,adam,0,20,0.95\n"
    assert times(read(tmp_path, rows)) == [20.0]
    assert "may number the rows or the runs" in reason(tmp_path, rows.replace("seed", "x"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,10,0.7\na,10,0.8\na,20,0.95\n", "line 3 repeats the time 10 of line 2"),
        ("a,10,0.7\na,20,0.8\na,15,0.95\n", "the time goes back from 20 to 15 at line 4"),
        ("a,10,0.7\na,20,0.8\na,10,0.7\na,20,0.95\n", "the time goes back from 20 to 10 at line 4"),
        ("a,1.999999,0.7\na,2,0.8\na,1.999998,0.95\n", "the time goes back from 2 to 1.999998 at line 4"),
        ("a,20,0.7\na,10,0.95\n", "the time goes back from 20 to 10 at line 3"),
    ],
)
def test_times_that_repeat_or_go_back_are_refused_with_the_line(rows: str, said: str, tmp_path: Path) -> None:
    found = reason(tmp_path, "workload,seconds,accuracy\n" + rows)
    assert said in found
    assert "--column run=NAME" in found


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("1,10,0.7\n2,20,0.95\n1,11,0.7\n2,21,0.95\n", "the time goes back from 20 to 11 at line 4"),
        ("1,10,0.7\n1,11,0.7\n2,20,0.95\n2,21,0.95\n", "every step stands in several rows"),
        ("1,10,0.7\n2,20,0.95\n1,30,0.7\n2,40,0.95\n", "step goes back from 2 to 1 at line 4"),
        ("1,30,0.7\n2,20,0.8\n3,10,0.95\n", "the time goes back from 30 to 20 at line 3"),
        ("1,0,0.7\n2,0,0.8\n3,0,0.95\n", "all 3 rows have the time 0"),
    ],
)
def test_rows_of_several_runs_are_not_merged_by_their_steps(rows: str, said: str, tmp_path: Path) -> None:
    assert said in reason(tmp_path, "step,seconds,accuracy\n" + rows)


def test_text_that_differs_between_the_rows_of_a_run_is_noted(tmp_path: Path) -> None:
    (run,) = read(tmp_path, "optimizer,seconds,accuracy\nadam,10,0.95\nsgd,20,0.97\n")
    assert "if it names entries, use --column workload=optimizer" in run.details["notes"][0]
    adam, sgd = read(tmp_path, "optimizer,seconds,accuracy\nadam,10,0.95\nsgd,20,0.97\n", "t.csv", "workload=optimizer")
    assert (adam.seconds, sgd.seconds) == (10.0, 20.0)


def test_lost_steps_of_a_resumed_run_are_noted(tmp_path: Path) -> None:
    rows = "1,10,0.7\n2,20,0.8\n3,30,0.85\n2,100,0.8\n3,110,0.95\n"
    (run,) = read(tmp_path, "step,seconds,accuracy\n" + rows)
    assert run.seconds == 110.0
    assert "step 2 follows step 3 at line 5" in run.details["notes"][0]


def test_several_evaluations_of_an_epoch_are_one_run(tmp_path: Path) -> None:
    rows = "1,10,0.5\n1,20,0.7\n2,30,0.8\n2,40,0.95\n"
    assert times(read(tmp_path, "epoch,seconds,accuracy\n" + rows)) == [40.0]


def test_reverse_order_is_sorted_with_a_note(tmp_path: Path) -> None:
    (run,) = read(tmp_path, "workload,seconds,accuracy\na,30,0.95\na,20,0.8\na,10,0.7\n")
    assert run.seconds == 30.0
    assert "reverse order" in run.details["notes"][0]


def test_coarse_clock_may_repeat_where_the_steps_rise(tmp_path: Path) -> None:
    (run,) = read(tmp_path, "workload,step,seconds,accuracy\na,1,10,0.7\na,2,10,0.8\na,3,11,0.95\n")
    assert run.seconds == 11.0


def test_clock_of_a_resumed_run_continues_with_a_note(tmp_path: Path) -> None:
    rows = "".join(
        f"a,{k},{t},{a}\n" for k, (t, a) in enumerate([(30, 0.5), (60, 0.6), (90, 0.8), (10, 0.85), (40, 0.91)])
    )
    (run,) = read(tmp_path, "workload,step,seconds,accuracy\n" + rows)
    assert run.seconds == 130.0
    assert "the clock restarts at line 5 (step 3)" in run.details["notes"][0]
    assert "continues from 90 s" in run.details["notes"][0]


def test_small_decrease_of_a_clock_is_not_a_restart(tmp_path: Path) -> None:
    rows = "a,0,30,0.5\na,1,60,0.6\na,2,190,0.8\na,3,180,0.95\n"
    assert "which is not the start of a clock" in reason(tmp_path, "workload,step,seconds,accuracy\n" + rows)


def test_percent_against_a_fraction_is_refused_with_the_remedy(tmp_path: Path) -> None:
    assert "--target 'accuracy>=90.0'" in reason(tmp_path, table(row="adam,{s},{t},{p}"))
    assert "--target 'accuracy>=0.9'" in reason(tmp_path, table(), target=Target("accuracy", 90.0))


def test_scale_is_not_doubted_where_it_makes_no_difference(tmp_path: Path) -> None:
    rows = "workload,seconds,accuracy\na,10,0.10\na,20,0.11\n"  # chance level: short of 76 on either scale
    (run,) = sort_out(read_csv(write(tmp_path / "t.csv", rows), target=Target("accuracy", 76.0)))[0]
    assert run.outcome == "exhausted"
    loss = "workload,seconds,loss\na,10,7\na,20,0.4\n"
    assert one_run(read_csv(write(tmp_path / "u.csv", loss), target=Target("loss", 0.5, "at_most"))).seconds == 20.0


@pytest.mark.parametrize("metric", ["hits@10", "val_acc1", "pass@1"])
def test_shares_with_a_cutoff_are_recognized(metric: str, tmp_path: Path) -> None:
    rows = f"workload,seconds,{metric}\na,10,50\na,20,95\n"
    assert f"--target '{metric}>=90.0'" in reason(tmp_path, rows, target=Target(metric, 0.9))


@pytest.mark.parametrize(("values", "threshold"), [((50, 95), 0.9), ((0.5, 0.95), 90.0)])
def test_scale_of_other_metrics_is_doubted_in_a_note(
    values: tuple[float, float], threshold: float, tmp_path: Path
) -> None:
    rows = "workload,seconds,score\na,10,{}\na,20,{}\n".format(*values)
    run = one_run(read_csv(write(tmp_path / "t.csv", rows), target=Target("score", threshold)))
    assert f"the target is {threshold:g}: is it on another scale?" in run.details["notes"][0]


@pytest.mark.parametrize(
    ("form", "unit"),
    [
        ("00:00:{t:04.1f}", ""),
        ("{t}s", ""),
        ("0 days 00:00:{t:04.1f}", ""),
        ("{ms:.0f}ms", ""),
        ("{ms:.0f}", "milliseconds"),
    ],
)
def test_times_in_other_forms_are_converted(form: str, unit: str, tmp_path: Path) -> None:
    rows = "".join(f"a,{form.format(t=t, ms=1000 * t)},{a}\n" for t, a in CURVE)
    assert times(read(tmp_path, f"workload,{unit or 'seconds'},accuracy\n{rows}")) == [30.0]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (("00:10", "00:20"), "may be minutes and seconds or hours and minutes"),
        (("1700000000", "1700000010"), "the start of the run is not known"),
        (("1700000000000", "1700000010000"), "the start of the run is not known"),
        (("2026-01-01T10:00:00Z", "2026-01-01T10:00:10Z"), "the start of the run is not known"),
        (("10", "2026-01-01T10:00:10Z"), "mixes points in time with seconds"),
        (("soon", "later"), "must be a number, a time such as 00:01:30, or a date"),
        (("-1", "5"), "a time must be a number of seconds from 0 on"),
        (("123456789012345", "133456789012345"), "more than 30 years; name its unit"),
    ],
)
def test_times_that_cannot_be_interpreted_are_refused_by_name(
    cells: tuple[str, str], said: str, tmp_path: Path
) -> None:
    rows = "".join(f"a,{cell},{a}\n" for cell, a in zip(cells, (0.7, 0.95), strict=True))
    assert said in reason(tmp_path, f"workload,seconds,accuracy\n{rows}")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            ("14:00:00", "14:00:10", "14:00:20"),
            "may hold times of day: the first time is 50400 s, where 10 s are usual",
        ),
        (("23:59:40", "23:59:50", "00:00:00"), "the time goes back from 86390 to 0"),
        (("2026-10-25T02:59:40", "2026-10-25T02:59:50", "2026-10-25T02:00:00"), "the time goes back from 3590 to 0"),
    ],
)
def test_times_of_day_are_not_times_since_the_start(cells: tuple[str, ...], said: str, tmp_path: Path) -> None:
    rows = "".join(f"{step},{cell},0.95\n" for step, cell in enumerate(cells))
    assert said in reason(tmp_path, "step,seconds,accuracy\n" + rows)


def test_clock_that_began_before_the_run_is_noted(tmp_path: Path) -> None:
    rows = "".join(f"{step},{123_456 + 10 * step},{0.5 + step / 10}\n" for step in range(5))
    (run,) = read(tmp_path, "step,seconds,accuracy\n" + rows)
    assert "the first time is 123456 s, where 10 s are usual between two" in run.details["notes"][0]
    late = "".join(f"{step},{10 * step},{step / 1050}\n" for step in range(1000, 1050, 10))  # evaluated late
    assert "notes" not in read(tmp_path, "step,seconds,accuracy\n" + late)[0].details


@pytest.mark.parametrize("start", ["1700000000", "2023-11-14T22:13:20+00:00"])
def test_points_in_time_count_from_the_stated_start(start: str, tmp_path: Path) -> None:
    rows = f"a,{start},1700000010,0.7\na,{start},1700000030,0.95\n"
    assert times(read(tmp_path, f"workload,started,seconds,accuracy\n{rows}")) == [30.0]


def test_points_in_time_count_from_step_0(tmp_path: Path) -> None:
    rows = "a,0,2026-01-01 10:00:00,0.1\na,5,2026-01-01 10:00:40,0.95\n"
    assert times(read(tmp_path, f"workload,step,seconds,accuracy\n{rows}")) == [40.0]


@pytest.mark.parametrize("column", ["epoch_time", "time_per_step", "step time", "duration"])
def test_durations_are_refused_and_can_be_added_up(column: str, tmp_path: Path) -> None:
    rows = f"workload,{column},accuracy\na,20.3,0.7\na,19.8,0.88\na,20.1,0.92\n"
    if column != "duration":  # which is the name of the role itself
        assert f"use --column duration={column}" in reason(tmp_path, rows, f"seconds={column}")
    (run,) = read(tmp_path, rows, "t.csv", f"duration={column}")
    assert run.seconds == pytest.approx(60.2)


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("time_ms", "milliseconds"),
        ("elapsedMs", "milliseconds"),
        ("time (ms)", "milliseconds"),
        ("train_time_us", "microseconds"),
        ("TimeNs", "nanoseconds"),
        ("train_minutes", "minutes"),
        ("hours", "hours"),
    ],
)
def test_unit_in_the_name_of_a_column_counts(column: str, unit: str, tmp_path: Path) -> None:
    rows = table(f"workload,seed,{column},accuracy")
    assert f"use --column {unit}={column}" in reason(tmp_path, rows, f"seconds={column}")


def test_unit_in_the_name_of_durations_counts(tmp_path: Path) -> None:
    (run,) = read(tmp_path, "epoch_time_ms,accuracy\n20000,0.7\n10000,0.95\n", "t.csv", "duration=epoch_time_ms")
    assert run.seconds == 30.0


def test_long_gap_is_named_as_possible_downtime(tmp_path: Path) -> None:
    rows = "".join(f"a,{t},{a}\n" for t, a in [(10, 0.1), (20, 0.2), (30, 0.3), (40, 0.4), (4000, 0.5), (4010, 0.95)])
    (run,) = read(tmp_path, "workload,seconds,accuracy\n" + rows)
    assert "3960 s pass before line 6" in run.details["notes"][0]


def test_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "has no column 'wall'; its columns are workload, seed, seconds" in reason(tmp_path, table(), "seconds=wall")


def test_device_is_no_file() -> None:
    with pytest.raises(InputError, match="neither a regular file nor a folder"):
        list(read_csv("/dev/zero", target=TARGET))

"""MAIN PATH of the report: summarize the runs, fill the template, write the page in one piece."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etesian.bench.record import Run
from etesian.bench.report.figures import curves_figure, times_figure
from etesian.bench.report.marks import assign_marks
from etesian.bench.report.tables import machine_records, run_rows, summary_rows
from etesian.bench.report.wording import OUTCOMES, target_words, verdict
from etesian.bench.statistics import CONFIDENCE, by_workload, summarize

if TYPE_CHECKING:
    import jinja2


def write_report(
    runs: Sequence[Run],
    path: str | os.PathLike[str],
    *,
    title: str = "Time to target",
    command: str | None = None,
    baseline: str | None = None,
    confidence: float = CONFIDENCE,
) -> Path:
    """Write runs towards one target as one HTML page that needs no network.

    Parameters
    ----------
    runs
        Of one or more workloads, towards one target.
    path
        Where to; an existing file is replaced only once the page is complete.
    title
        Heading of the page.
    command
        What made the runs, to be shown under how to reproduce them.
    baseline
        Workload that the ratios are to; the first by default.
    confidence
        Of every interval.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    ImportError
        jinja2 or plotly is missing.
    ValueError
        The runs cannot be summarized: see `etesian.bench.statistics.summarize`.
    """
    template, plotly_js = _load_template(), _load_plotly()
    content = _content(runs, baseline=baseline, confidence=confidence)
    page = template.render(title=title, command=command, plotly_js=plotly_js, **_package_files(), **content)
    return _write_whole(Path(path), page)


def _content(runs: Sequence[Run], *, baseline: str | None, confidence: float) -> dict[str, Any]:
    """All that the page says, in the template's names."""
    summary = summarize(runs, baseline=baseline, confidence=confidence)
    marks = assign_marks([each.workload for each in summary.workloads])
    return {
        "summary": summary,
        "marks": marks,
        "target": target_words(summary.target),
        "verdict": verdict(summary),
        "summary_rows": summary_rows(summary),
        "runs": run_rows(runs),
        "seeds": {name: [run.seed for run in group] for name, group in by_workload(runs).items()},
        "budgets": sorted({run.budget_seconds for run in runs if run.budget_seconds is not None}),
        "outcome_words": OUTCOMES,
        "machines": machine_records(runs),
        "started": sorted(run.started[:16].replace("T", " ") + " UTC" for run in runs if run.started),
        "figures": {"curves": curves_figure(runs, marks), "times": times_figure(runs, summary, marks)},
    }


def _load_template() -> jinja2.Template:
    try:
        import jinja2  # an extra
    except ImportError:
        raise ImportError("the report needs jinja2: pip install etesian[report]") from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("etesian.bench.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _load_plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs  # an extra
    except ImportError:
        raise ImportError("the report needs plotly: pip install etesian[report]") from None
    return str(get_plotlyjs())


def _package_files() -> dict[str, str]:
    folder = resources.files("etesian.bench.report")
    return {"page_css": (folder / "page.css").read_text("utf-8"), "page_js": (folder / "page.js").read_text("utf-8")}


def _write_whole(path: Path, text: str) -> Path:
    """Write beside `path`, then move there, so that no reader ever sees half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(draft, 0o666 & ~_umask())  # mkstemp's own mode would hide the page from others
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

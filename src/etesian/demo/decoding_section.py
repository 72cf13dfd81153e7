"""The decoding half as a section of the report: a table, and a text in the colors of who proposed it. Computes nothing."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from etesian._shared.files import atomic_write
from etesian.decode.statistics import TARGET
from etesian.demo.decoding import BASELINE, N_TOKENS, TIMES, DecodingDemo, describe_speedups
from etesian.suite.prompts import PROMPTS

if TYPE_CHECKING:
    import jinja2


END_OF_PAGE = "</main>"


def add_section(report: Path, section: str) -> None:
    """Put a section at the end of a page that is already written; the page is replaced once it is whole again."""
    before, end, after = report.read_text("utf-8").rpartition(END_OF_PAGE)
    assert end, f"{report} must be a page with {END_OF_PAGE}"
    with atomic_write(report, "w") as file:
        file.write(f"{before}{section}\n{end}{after}")


def decoding_section(found: DecodingDemo) -> str:
    """Return the section as HTML, for a page with the report's own style."""
    return _template().render(
        found=found,
        tokens=zip(found.sample.texts, found.sample.origins, strict=True),
        counts={origin: found.sample.origins.count(origin) for origin in (*found.stages, TARGET)},
        n_prompts=len(PROMPTS),
        n_tokens=N_TOKENS,
        n_runs=found.races[0].n_seeds,
        times=TIMES,
        baseline=BASELINE,
        describe_speedups=describe_speedups,
        median=median,
    )


def _template() -> jinja2.Template:
    import jinja2  # an extra, which the report needs too

    source = (resources.files("etesian.demo") / "decoding.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)

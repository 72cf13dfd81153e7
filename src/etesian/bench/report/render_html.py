"""A document as HTML: one page with its styles, scripts and data inline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from etesian._shared.text import printable
from etesian.bench.report.document import Document
from etesian.bench.report.embed import embed_race, points_per_run
from etesian.bench.report.format import target_words

if TYPE_CHECKING:
    import jinja2

_SCRIPTS = ("chart.js", "tables.js", "thresholds.js", "page.js")


@dataclass(frozen=True)
class Content:
    """The changing part of a page: its body as HTML, and the data of its figures and controls."""

    title: str
    body: str
    data: Mapping[str, Any]


def render_content(document: Document) -> Content:
    """Render the body of a page, and collect the data that its scripts use."""
    most_points = points_per_run([part.race for part in document.races])
    body = (
        _environment()
        .get_template("body.html")
        .render(document=document, target_words=target_words, most_points=most_points)
    )
    sections = [section for part in document.races for section in part.sections] + list(document.sections)
    data = {
        "marks": {name: [mark.color, mark.dash] for name, mark in document.marks.items()},
        "figures": {each.name: each.figure for each in sections if each.figure is not None},
        "races": {
            part.anchor: embed_race(part.race, rule=document.analysis.options.rule, most=most_points)
            | {"links": dict(part.context.links), "sections": [section.name for section in part.sections]}
            for part in document.races
        },
    }
    return Content(document.title, body, data)


def render_page(document: Document) -> str:
    """Render a whole page."""
    return assemble_page(render_content(document))


def assemble_page(content: Content, *, live_script: str = "") -> str:
    """Join content, styles and scripts; `live_script` keeps a served page up to date."""
    return load_templates().render(
        title=content.title,
        body=content.body,
        data=content.data,
        css=package_file("page.css"),
        scripts="\n".join([*map(package_file, _SCRIPTS), live_script]),
        is_live=bool(live_script),
    )


def message_content(title: str, text: str) -> Content:
    """Render a message in place of a report."""
    template = load_templates().environment.from_string("<h1>{{ title }}</h1>\n<p>{{ text }}</p>")
    return Content(title, template.render(title=title, text=text), {"marks": {}, "figures": {}, "races": {}})


def load_templates() -> jinja2.Template:
    """Load the page template, before any work is done.

    Raises
    ------
    ImportError
        If jinja2 is not installed; the message says how to install it.
    """
    try:
        import jinja2  # noqa: F401 - an extra
    except ImportError:
        raise ImportError("the report needs jinja2: pip install etesian[report]") from None
    return _environment().get_template("page.html")


def package_file(name: str) -> str:
    """Read a file of this package."""
    return (resources.files("etesian.bench.report") / name).read_text("utf-8")


@lru_cache(maxsize=1)  # compiling the templates takes longer than rendering them
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("etesian.bench.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_controls,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["breakable"] = _breakable
    return environment


def _without_controls(value: Any) -> Any:
    """Escape control characters of names, such as those that reverse the direction of text. Markup is ours."""
    return printable(value) if type(value) is str else value


def _breakable(name: str) -> str:
    """Escape a name and allow line breaks after its separators and between the words of camel case, never inside words."""
    import markupsafe

    pieces = re.split(r"(?<=[-_/])|(?<=[a-z0-9])(?=[A-Z][a-z])", printable(name))
    return markupsafe.Markup("<wbr>").join(pieces)

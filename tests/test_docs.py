"""The pages' code runs, block by block in one namespace a page, and the site builds without warnings.

A Python block with a title is written to a file of that name; other Python blocks run; the lines of console blocks, which
begin with ``$ etesian``, run as commands. A block below a comment ``<!-- not run: reason -->`` is left out.
"""

import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
from command_line import run_command
from movielens import link_if_read

from etesian import bench, decode, sparse
from etesian.bench import statistics

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(
    r'^(?P<mark><!-- not run: [^\n]+ -->\n)?```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$',
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A piece of code on a page, and the line on which it begins, from 0."""

    language: str
    title: str | None
    code: str
    line: int
    is_run: bool


def blocks_of(page):
    text = page.read_text()
    return [
        Block(m["language"], m["title"], m["code"], text[: m.start("code")].count("\n"), m["mark"] is None)
        for m in FENCE.finditer(text)
    ]


def page_name(page):
    return page.relative_to(DOCS).with_suffix("").as_posix()


def run_commands(code, folder):
    for line in code.splitlines():
        assert line.startswith("$ etesian "), f"only etesian's own commands run in the tests: {line}"
        done = subprocess.run(
            f"{sys.executable} -m {line.removeprefix('$ ')}",
            cwd=folder,
            shell=True,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to be in, from which modules are imported; what was imported is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=page_name)
def test_code_of_page_runs(page, folder, monkeypatch):
    module = types.ModuleType("code_of_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    link_if_read(page.read_text(), folder)
    source = folder / "code_of_page.py"  # numba keeps what it compiles beside a file
    for block in blocks_of(page):
        if block.is_run and block.title is not None:
            (folder / block.title).write_text(block.code)
        elif block.is_run and block.language == "python":
            source.write_text("\n" * block.line + block.code)
            exec(compile(source.read_text(), source, "exec"), module.__dict__)
        elif block.is_run and block.language == "console":
            run_commands(block.code, folder)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_block_of_page_is_seen(page):
    assert page.read_text().count("```") == 2 * len(blocks_of(page))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"ETESIAN_GALLERY": "skip"},  # the examples run in tests of their own
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_site_builds_without_warnings_and_fetches_nothing(site):
    fetched = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)  # and the one for addresses that do not exist
    assert not [found for page in pages for found in fetched.findall(page.read_text())]


def test_links_and_anchors_within_the_site_exist(site):
    pages = {path: path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}
    anchors = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    broken, n_links = [], 0
    for path, text in pages.items():
        for link in re.findall(r'\bhref="([^"]+)"', text):
            target, _, anchor = link.partition("#")
            if ":" in target or target.startswith("//"):
                continue
            n_links += 1
            place = (path.parent / unquote(target)).resolve() if target else path
            if not place.exists() or (anchor and place in anchors and unquote(anchor) not in anchors[place]):
                broken.append((path.name, link))
    assert n_links > 1_000
    assert not broken


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_relative_links_of_the_repository_exist(name):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / name).read_text())
    assert not [link for link in links if ":" not in link and not (ROOT / link).exists()]


def test_architecture_names_existing_files():
    part, missing = "", []
    for line in (DOCS / "explanation" / "architecture.md").read_text().splitlines():
        heading = re.match(r"## (\w+):?", line)
        part = heading[1] if heading else part
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", line):
            places = [ROOT / name, ROOT / "src/etesian" / name, ROOT / "src/etesian" / part / name]
            missing += [] if any(place.exists() for place in places) else [name]
    assert not missing


def test_llms_txt_lists_every_page(site):
    text = (site / "llms.txt").read_text()
    listed = set(re.findall(r"\]\(([^)]+)\)", text))
    assert listed == {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in PAGES}


def test_command_line_page_lists_every_command_and_option(site):
    page = (site / "reference" / "command-line.html").read_text()
    sections = dict(re.findall(r"<h2[^>]*>(etesian [^<]+)<(.*?)(?=<h2|</article>)", page, re.DOTALL))
    for path, help_text in commands_with_help(()):
        assert path in sections
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]+", help_text):
            assert option in sections[path], (path, option)


def commands_with_help(path):
    """Yield every command without subcommands, and its help, as printed."""
    done = run_command(*path, "--help", env={"COLUMNS": "140", "NO_COLOR": "1"})
    assert done.exit_code == 0, done.stderr
    listed = re.findall(r"^│ ([a-z][\w-]*) ", done.stdout, re.MULTILINE)
    if "COMMAND" not in done.stdout.splitlines()[0]:
        yield " ".join(["etesian", *path]), done.stdout
    for name in listed if "COMMAND" in done.stdout.splitlines()[0] else ():
        yield from commands_with_help((*path, name))


@pytest.mark.parametrize("module", [sparse, decode, bench, statistics], ids=lambda module: module.__name__)
def test_reference_names_everything_public(site, module):
    text = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    anchors = re.findall(rf'id="{re.escape(module.__name__)}\.([\w.]+)"', text)
    named = {anchor.rpartition(".")[2] for anchor in anchors}
    modules = {"io", "report", "statistics"}
    constants = {name for name in module.__all__ if name.isupper() and isinstance(getattr(module, name), float)}
    assert set(module.__all__) - modules - constants <= named

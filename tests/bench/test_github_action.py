"""The GitHub Action: its script is run against a fake event and a local endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


class FakeGitHub(ThreadingHTTPServer):
    """Stores the comments of one pull request."""

    def __init__(self, *, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.comments: list[dict[str, Any]] = [{"id": 1, "body": "a comment of somebody else"}]
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeGitHub

    def _handle(self) -> None:
        self.server.requests.append((self.command, self.path, self.headers["Authorization"]))
        length = int(self.headers.get("Content-Length") or 0)
        data = json.loads(self.rfile.read(length) or b"null")
        answer: Any = self.server.comments
        if self.command == "POST":
            answer = {"id": len(self.server.comments) + 1, **data}
            self.server.comments.append(answer)
        elif self.command == "PATCH":
            answer = next(each for each in self.server.comments if each["id"] == int(self.path.rpartition("/")[2]))
            answer.update(data)
        text = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = _handle  # noqa: N815 - names of the standard library

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write_times(path: Path, factor: float) -> Path:
    times = factor * np.exp(0.01 * np.random.default_rng(0).normal(size=8))
    path.write_text(json.dumps({"results": [{"command": "make", "times": times.tolist()}]}))
    return path


def run_action(folder: Path, github: FakeGitHub, factor: float, *, event: object = None, **inputs: str) -> Any:
    """Run the script of action.yml as a runner would, with the inputs that it declares."""
    (folder / "event.json").write_text(json.dumps({"pull_request": {"number": 7}} if event is None else event))
    environment = {
        "PATH": "",
        "PYTHONPATH": str(ROOT / "src"),
        "ETESIAN_BASE": str(write_times(folder / "base.json", 1.0)),
        "ETESIAN_NEW": str(write_times(folder / "new.json", factor)),
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": "secret-token",
        **inputs,
    }
    command = [sys.executable, "-m", "etesian.cli.github_check"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_action_runs_the_script_that_is_tested_here() -> None:
    text = (ROOT / "action.yml").read_text()
    assert "run: python -m etesian.cli.github_check" in text
    assert "${{ inputs." not in text.split("run: python", 1)[1]


def test_a_slowdown_fails_and_is_commented_once(tmp_path: Path, github: FakeGitHub) -> None:
    for factor in (1.3, 1.4):
        done = run_action(tmp_path, github, factor)
        assert done.returncode == 1, done.stderr
    _, comment = github.comments
    assert "| make | slower | 1.4" in comment["body"]
    assert [method for method, *_ in github.requests] == ["GET", "POST", "GET", "PATCH"]
    assert {authorization for *_, authorization in github.requests} == {"Bearer secret-token"}
    assert (tmp_path / "summary.md").read_text().count("### Benchmarks") == 2
    assert (tmp_path / "output").read_text() == "exit-code=1\n" * 2
    assert "secret-token" not in done.stdout + done.stderr + comment["body"]


def test_events_without_a_pull_request_are_not_commented(tmp_path: Path, github: FakeGitHub) -> None:
    done = run_action(tmp_path, github, 1.0, event={"ref": "refs/heads/main"})
    assert (done.returncode, github.requests) == (0, [])
    assert "within the margin" in (tmp_path / "summary.md").read_text()


def test_a_missing_permission_is_a_warning(tmp_path: Path, github: FakeGitHub) -> None:
    github.status = 403
    done = run_action(tmp_path, github, 1.0)
    assert done.returncode == 0
    assert "::warning::The comment was not written: HTTP status 403" in done.stdout


def test_tokens_are_sent_to_https_addresses_only(tmp_path: Path, github: FakeGitHub) -> None:
    done = run_action(tmp_path, github, 1.0, GITHUB_API_URL="http://github.example")
    assert done.returncode == 0
    assert "must be an https address" in done.stdout
    assert github.requests == []

"""The script of the GitHub Action: runs `etesian bench check`, and publishes its Markdown.

It reads its inputs from environment variables, appends the Markdown to the job summary, and creates or updates one comment
on the pull request of the event.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LONGEST_COMMENT = 60_000  # GitHub allows 65,536 characters
_TIMEOUT_SECONDS = 30
_MOST_PAGES = 50


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run the check and publish its result; return the exit code of the check."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "check.md"
        code = _check(environment, file)
        if not file.exists():
            return code
        markdown = f"### {environment.get('ETESIAN_TITLE', 'Benchmarks')}\n\n{file.read_text('utf-8')}"
    _append(environment.get("GITHUB_STEP_SUMMARY"), markdown)
    _append(environment.get("GITHUB_OUTPUT"), f"exit-code={code}\n")
    if environment.get("ETESIAN_COMMENT", "true") == "true":
        _comment(environment, markdown)
    return code


def _check(environment: Mapping[str, str], file: Path) -> int:
    strict = ["--strict"] if environment.get("ETESIAN_STRICT") == "true" else []
    command = [sys.executable, "-m", "etesian", "bench", "check", "--markdown", str(file), *strict]
    command += ["--margin", environment.get("ETESIAN_MARGIN", "1.05")]
    command += ["--", environment["ETESIAN_BASE"], environment["ETESIAN_NEW"]]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - no shell


def _comment(environment: Mapping[str, str], markdown: str) -> None:
    """Create or update the comment; a missing permission, as on forks, is a warning."""
    number = _pull_request(environment.get("GITHUB_EVENT_PATH"))
    if number is None:
        print("The event has no pull request; no comment was written.")
        return
    marker = f"<!-- etesian-bench-check {_slug(environment.get('ETESIAN_TITLE', 'Benchmarks'))} -->"
    body = f"{marker}\n{markdown}"[:_LONGEST_COMMENT]
    try:
        existing = _find_comment(environment, number, marker)
        if existing is None:
            _request(environment, "POST", f"issues/{number}/comments", {"body": body})
        else:
            _request(environment, "PATCH", f"issues/comments/{existing}", {"body": body})
    except urllib.error.HTTPError as error:
        print(f"::warning::The comment was not written: HTTP status {error.code}. Forks have no permission to comment.")
    except OSError as error:
        print(f"::warning::The comment was not written: {' '.join(str(error).split())}")


def _find_comment(environment: Mapping[str, str], number: int, marker: str) -> int | None:
    for page in range(1, _MOST_PAGES + 1):
        comments = _request(environment, "GET", f"issues/{number}/comments?per_page=100&page={page}")
        for comment in comments:
            if str(comment.get("body", "")).startswith(marker):
                return int(comment["id"])
        if len(comments) < 100:
            return None
    return None


def _request(environment: Mapping[str, str], method: str, path: str, data: Any = None) -> Any:
    server = environment.get("GITHUB_API_URL", "https://api.github.com")
    if not server.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise OSError(f"GITHUB_API_URL must be an https address; got {server}")
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        f"{server}/repos/{environment['GITHUB_REPOSITORY']}/{path}",
        data=None if data is None else json.dumps(data).encode(),
        method=method,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {environment.get('GITHUB_TOKEN', '')}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
        return json.loads(response.read() or b"null")


def _pull_request(event_path: str | None) -> int | None:
    """Return the number of the pull request of an event; None if it has none."""
    if not event_path:
        return None
    try:
        event = json.loads(Path(event_path).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    number = event.get("pull_request", {}).get("number") if isinstance(event, dict) else None
    return number if isinstance(number, int) else None


def _append(path: str | None, text: str) -> None:
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)


def _slug(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower() or "benchmarks"


if __name__ == "__main__":
    sys.exit(main())

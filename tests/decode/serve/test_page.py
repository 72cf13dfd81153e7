"""The page in a real browser, without any other host. Skipped where chromium is not installed."""

from __future__ import annotations

import json
import queue
import re
import subprocess

import pytest
from browser import CHROMIUM, COMMON_FLAGS, STAY_OPEN, needs_chromium
from http_server import running

from etesian.decode.serve.http import app

FLAGS = (
    STAY_OPEN,
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

# A visitor who only uses the keyboard asks a question, stops the second answer, and looks at what is shown.
SCRIPT = """
const press = (target, key) =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const until = async (isTrue) => { for (let n = 0; n < 400 && !isTrue(); n++) await new Promise((done) => setTimeout(done, 25)); };
const byId = (id) => document.getElementById(id);
async function visit() {
  await until(() => byId("model").textContent === "toy");
  byId("max_tokens").value = 24;
  byId("question").focus();
  byId("question").value = "abab abab";
  press(document.activeElement, "Enter");
  await until(() => byId("stop").disabled && document.querySelectorAll("article.assistant button").length === 1);
  const answer = document.querySelector("article.assistant .text");
  const found = {
    text: answer.textContent,
    origins: [...answer.children].map((each) => each.title),
    stats: Object.fromEntries([...document.querySelectorAll("[data-stat]")].map((each) => [each.dataset.stat, each.textContent])),
    legend: [...byId("legend").children].map((each) => each.textContent),
    colored: getComputedStyle(answer.querySelector(".o1") ?? answer).backgroundColor,
    width: document.documentElement.scrollWidth, window: innerWidth, dark: document.documentElement.classList.contains("dark"),
    unlabelled: [...document.querySelectorAll("input, textarea")].filter((each) => !each.labels.length).length,
    unreachable: [...document.querySelectorAll("button, input, textarea, summary")].filter((each) => each.tabIndex < 0).length,
  };
  byId("colors").click();
  found.uncolored = getComputedStyle(answer.querySelector(".o1") ?? answer).backgroundColor;
  byId("max_tokens").value = 4000;
  byId("question").value = "more";
  press(byId("question"), "Enter");
  await until(() => document.querySelectorAll("article.assistant .text")[1]?.textContent.length > 0);
  press(document.body, "Escape");
  await until(() => byId("stop").disabled);
  found.stopped = document.querySelectorAll("article.assistant .text")[1].textContent.length;
  found.focused = document.activeElement.id;
  found.kept = messages.map((each) => each.role);
  byId("max_tokens").value = 0.5;
  byId("options").checkValidity = () => true;
  byId("question").value = "bad";
  press(byId("question"), "Enter");
  await until(() => document.querySelectorAll("article.error").length && byId("stop").disabled);
  found.afterError = [messages.length, byId("question").value, document.querySelectorAll("article.assistant").length];
  delete byId("options").checkValidity;
  byId("max_tokens").value = 4000;
  byId("question").value = "again";
  press(byId("question"), "Enter");
  await until(() => document.querySelectorAll("article.assistant .text")[2]?.textContent.length > 0);
  byId("clear").click();
  await until(() => byId("stop").disabled);
  found.afterClear = [messages.length, document.querySelectorAll("article").length];
  byId("max_tokens").value = 4;
  byId("question").value = "new";
  press(byId("question"), "Enter");
  await until(() => messages.length === 2);
  found.fresh = messages.map((each) => each.role);
  byId("temperature").value = -1;
  byId("question").value = "third";
  press(byId("question"), "Enter");
  found.refused = document.querySelectorAll("article.user").length;
  byId("theme").click();
  found.darkAfter = document.documentElement.classList.contains("dark");
  await fetch("health?told=" + encodeURIComponent(JSON.stringify(found)));
}
visit();
"""

pytestmark = needs_chromium


@pytest.fixture(scope="module", params=[1280, 500])
def visit(request, tmp_path_factory):
    """What the visitor finds at one width of the window, with the log of the browser."""
    told: queue.SimpleQueue = queue.SimpleQueue()
    page_of, health_of = app._page, app._health

    async def page_with_script(asked):
        response = await page_of(asked)
        if asked.url.path == "/page.js":
            response.body += SCRIPT.encode()
            response.init_headers({"Cache-Control": "no-cache"})
        return response

    async def health_with_ears(asked):
        if "told" in asked.query_params:
            told.put(json.loads(asked.query_params["told"]))
        return await health_of(asked)

    folder = tmp_path_factory.mktemp("profile")
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("wb") as log:
        patch.setattr(app, "_page", page_with_script)
        patch.setattr(app, "_health", health_with_ears)
        with running() as server:
            line = [
                CHROMIUM,
                *COMMON_FLAGS,
                *FLAGS,
                f"--user-data-dir={folder / 'data'}",
                f"--window-size={request.param},900",
            ]
            with subprocess.Popen([*line, f"http://127.0.0.1:{server.port}/"], stderr=log, stdout=log) as browser:
                try:
                    found = told.get(timeout=90)
                finally:
                    browser.terminate()
    return found, (folder / "log").read_text(errors="replace")


def test_a_visitor_chats_with_the_keyboard_alone(visit):
    found, log = visit
    assert len(found["text"]) > 0
    assert not [
        line for line in log.splitlines() if "CONSOLE" in line and "[DOM]" not in line
    ]  # the latter is advice on forms
    assert (found["unlabelled"], found["unreachable"], found["focused"]) == (0, 0, "question")
    assert found["refused"] == 1  # a negative temperature is refused before anything is sent


def test_tokens_are_colored_by_origin_and_statistics_are_shown(visit):
    found, _ = visit
    assert set(found["origins"]) <= set(found["legend"])
    assert "target" in found["legend"]
    assert len(set(found["origins"])) > 1
    assert found["colored"] != found["uncolored"]
    assert float(found["stats"]["length"]) > 1
    assert re.fullmatch(r"\d+ of \d+", found["stats"]["acceptance"])
    assert re.fullmatch(r"\d+ of \d+", found["stats"]["cached"])


def test_an_answer_can_be_stopped_and_the_theme_changed(visit):
    found, _ = visit
    assert 0 < found["stopped"] < 4000
    assert found["dark"] != found["darkAfter"]


def test_an_error_leaves_the_conversation_and_the_question_as_they_were(visit):
    found, _ = visit
    assert found["kept"] == ["user", "assistant"] * 2
    assert found["afterError"] == [4, "bad", 2]


def test_a_new_chat_begins_empty_even_during_an_answer(visit):
    found, _ = visit
    assert found["afterClear"] == [0, 0]
    assert found["fresh"] == ["user", "assistant"]


def test_nothing_is_wider_than_the_window(visit):
    found, _ = visit
    assert found["width"] <= found["window"]

"use strict";

const find = (id) => document.getElementById(id);
let messages = []; // of the conversation on display
const colors = new Map([["target", 0]]); // by origin, in the order of their first appearance
let running = null; // the AbortController of the answer in progress

function place(origin) {
  if (!colors.has(origin)) {
    colors.set(origin, 1 + ((colors.size - 1) % 6));
    showLegend();
  }
  return colors.get(origin);
}

function showLegend() {
  const items = [...colors].map(([origin, number]) => {
    const item = document.createElement("li");
    item.textContent = origin;
    item.className = `o${number}`;
    return item;
  });
  find("legend").replaceChildren(...items);
}

function applyColors() {
  for (const id of ["log", "legend"]) find(id).classList.toggle("colored", find("colors").checked);
}

function show(role, text) {
  const article = document.createElement("article");
  article.className = role;
  const heading = document.createElement("h3");
  heading.textContent = { user: "You", assistant: "Model", error: "Error" }[role];
  const body = document.createElement("div");
  body.className = "text";
  body.textContent = text;
  article.append(heading, body);
  find("log").append(article);
  scroll();
  return body;
}

function scroll() {
  find("log").scrollTop = find("log").scrollHeight;
}

function headers() {
  const found = { "Content-Type": "application/json" };
  const key = find("key").value.trim();
  if (key) found.Authorization = `Bearer ${key}`;
  return found;
}

function optionsOf() {
  const number = (id) => Number(find(id).value);
  const system = find("system").value.trim();
  return {
    messages: system ? [{ role: "system", content: system }, ...messages] : [...messages],
    temperature: number("temperature"),
    top_p: number("top_p"),
    top_k: number("top_k"),
    min_p: number("min_p"),
    seed: Math.trunc(number("seed")),
    max_tokens: number("max_tokens"),
    speculate: find("speculate").checked,
    stream: true,
    stream_options: { include_usage: true },
    include_origins: true,
  };
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const line = part.split("\n").find((each) => each.startsWith("data: "));
      if (line && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}

function addTokens(body, added) {
  added.texts.forEach((text, number) => {
    if (!text) return;
    const span = document.createElement("span");
    const origin = added.origins[number];
    span.className = `o${place(origin)}`;
    span.title = origin;
    span.textContent = text;
    body.append(span);
  });
  scroll();
}

function showStatistics(usage, began, first, ended) {
  const details = usage.completion_tokens_details;
  const seconds = (ended - first) / 1000;
  const values = {
    rate: seconds > 0 ? ((usage.completion_tokens - 1) / seconds).toFixed(1) : "–",
    length: details.passes ? (usage.completion_tokens / details.passes).toFixed(2) : "–",
    acceptance: details.drafted_tokens ? `${details.accepted_tokens} of ${details.drafted_tokens}` : "none drafted",
    cached: `${usage.prompt_tokens_details.cached_tokens} of ${usage.prompt_tokens}`,
    first: `${((first - began) / 1000).toFixed(2)} s`,
  };
  for (const [name, value] of Object.entries(values)) document.querySelector(`[data-stat="${name}"]`).textContent = value;
}

function offerCopy(body) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(body.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(body); // without access to the clipboard, Ctrl-C copies the selection
      button.textContent = "Selected; press Ctrl-C";
    }
  });
  body.after(button);
  scroll();
}

// A question without an answer returns to the field, so that it can be sent again.
function takeBack(question, conversation, body) {
  conversation.pop();
  body.parentElement.remove();
  find("question").value ||= question;
}

async function answer(question) {
  const conversation = messages; // "New chat" begins another one
  const body = show("assistant", "");
  const began = performance.now();
  let first = null, isWhole = false;
  running = new AbortController();
  find("send").disabled = true;
  find("stop").disabled = false;
  try {
    const response = await fetch("v1/chat/completions", {
      method: "POST",
      headers: headers(),
      body: JSON.stringify(optionsOf()),
      signal: running.signal,
    });
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      for (const choice of chunk.choices) {
        if (!choice.etesian) continue;
        first ??= performance.now();
        addTokens(body, choice.etesian);
      }
      if (chunk.usage) showStatistics(chunk.usage, began, first ?? performance.now(), performance.now());
    }
    isWhole = true;
  } catch (error) {
    if (error.name !== "AbortError") show("error", error.message);
  }
  if (isWhole || body.textContent) {
    conversation.push({ role: "assistant", content: body.textContent });
    offerCopy(body);
  } else {
    takeBack(question, conversation, body);
  }
  running = null;
  find("send").disabled = false;
  find("stop").disabled = true;
  find("question").focus();
}

find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("question").value.trim();
  if (!text || running) return;
  if (!find("options").checkValidity()) {
    find("settings").open = true; // a hidden field could not show what is wrong
    find("options").reportValidity();
    return;
  }
  find("question").value = "";
  messages.push({ role: "user", content: text });
  show("user", text);
  answer(text);
});

find("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    find("ask").requestSubmit();
  }
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
find("stop").addEventListener("click", () => running?.abort());
find("clear").addEventListener("click", () => {
  running?.abort();
  messages = [];
  find("log").replaceChildren();
  find("question").focus();
});
find("colors").addEventListener("change", applyColors);

function setTheme(isDark) {
  document.documentElement.classList.toggle("dark", isDark);
  find("theme").setAttribute("aria-pressed", String(isDark));
  find("theme").textContent = isDark ? "Light" : "Dark";
}
find("theme").addEventListener("click", () => setTheme(!document.documentElement.classList.contains("dark")));
setTheme(matchMedia("(prefers-color-scheme: dark)").matches);

async function connect() {
  const response = await fetch("v1/models", { headers: headers() });
  if (response.status === 401) {
    find("model").textContent = "enter an API key under Sampling";
    return;
  }
  const [model] = (await response.json()).data;
  model.stages.forEach(place);
  find("model").textContent = model.id;
}
find("key").addEventListener("change", connect);
if (innerWidth <= 760) find("settings").open = false;
showLegend();
applyColors();
connect().catch(() => { find("model").textContent = "the server does not respond"; });

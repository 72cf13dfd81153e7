// Keeps the page up to date with its store: polls every two seconds and replaces changed content.
(() => {
  const SECONDS = 2;
  const live = document.getElementById("live");
  const main = document.getElementById("content");
  let state = JSON.parse(document.getElementById("data").textContent).state;

  const say = (text) => { if (live.textContent !== text) live.textContent = text; };
  const at = () => new Date().toLocaleTimeString();

  // State that the reader has set: opened, chosen, typed.
  function choices() {
    const opened = [...document.querySelectorAll("details[id]")].map((each) => [each.id, "open", each.open]);
    const checked = [...document.querySelectorAll("input[type=checkbox]")].map((each) => [each.id, "checked", each.checked]);
    const typed = [...document.querySelectorAll("input[type=number]")].filter((each) => each.value !== each.defaultValue);
    return [...opened, ...checked, ...typed.map((each) => [each.id, "value", each.value])];
  }

  function replace(content) {
    const kept = choices();
    const [focused, top] = [document.activeElement?.id, window.scrollY];
    main.innerHTML = content.body;
    for (const [id, name, value] of kept) {
      const element = document.getElementById(id);
      if (element) element[name] = value;
    }
    page.show(content.data);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    window.scrollTo({ top, behavior: "instant" });
    state = content.state;
  }

  async function refresh() {
    try {
      const answer = await fetch("content", { headers: { "If-None-Match": `"${state}"` }, cache: "no-store" });
      if (answer.status === 200) {
        replace(await answer.json());
        say(`Live: updated at ${at()}.`);
      } else if (answer.status === 304) {
        if (!live.textContent.startsWith("Live")) say("Live: new runs appear as they finish.");
      } else {
        say(`The store cannot be read: ${(await answer.text()).trim()}. Trying again.`);
      }
    } catch {
      say("The server does not answer; the page shows its last state. Trying again.");
    }
    setTimeout(refresh, 1000 * SECONDS);
  }

  refresh();
})();

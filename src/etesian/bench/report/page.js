// Connects the data of the page to its figures and controls; `show` does so again after the page has changed.
const page = (() => {
  const DASH = "\u2013";

  function digits(value) {
    if (value === Infinity) return "∞";
    if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6)) return value.toExponential(2);
    const decimals = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
    return value.toLocaleString("en", { maximumFractionDigits: Math.min(decimals, 20) });
  }

  // Text with places for line breaks, like the template filter of this name.
  const breakable = (text) => text.split(/(?<=[-_/])|(?<=[a-z0-9])(?=[A-Z][a-z])/).flatMap((piece, k) => (k ? [document.createElement("wbr"), piece] : [piece]));

  const chosen = (id) => [...document.querySelectorAll(`[data-entries-of="${CSS.escape(id)}"] input:checked`)].map((box) => box.value);

  // One line for each run of the chosen entries.
  function curvesOf(race, names, marks) {
    return race.runs.flatMap(([entry, seed, , , , seconds, values]) => {
      const name = race.entries[entry];
      if (!names.includes(name)) return [];
      const [color, dash] = marks[name];
      return [{ kind: "line", class: "curve", x: seconds, y: values, name, color, dash, text: `${name}, seed ${seed}` }];
    });
  }

  function row(cells, link) {
    const line = document.createElement("tr");
    cells.forEach((text, k) => {
      const cell = line.appendChild(document.createElement(k ? "td" : "th"));
      const inner = k ? cell : cell.appendChild(document.createElement("a"));
      if (!k) [cell.scope, inner.href] = ["row", `#${link}`];
      inner.append(...breakable(text));
    });
    return line;
  }

  function sentence(race, threshold, rows, places) {
    const sign = race.direction === "at_least" ? "≥" : "≤";
    const goal = `At ${race.metric} ${sign} ${Number(threshold.toPrecision(6))}`;
    const arriving = rows.filter((each) => each.seconds < Infinity);
    if (!arriving.length) return `${goal} no entry has a median time.`;
    const winners = arriving.filter((each) => each.place === 1).map((each) => each.name);
    const moved = rows.filter((each) => each.place !== places[each.name]).length;
    const lead = winners.length > 1 ? `${winners.length} entries tie for the lead` : `${winners[0]} leads`;
    const changed = moved ? `; ${moved} ranks differ from those at ${race.threshold}` : "";
    return `${goal} ${lead} with ${digits(arriving[0].seconds)} s; ${arriving.length} of ${rows.length} entries have a median time${changed}.`;
  }

  function controlThreshold(given) {
    const race = thresholds.prepare(given);
    const id = race.sections.find((each) => document.getElementById(`${each}-slider`));
    if (!id) return;
    const [slider, number, reset, result, table] = ["slider", "number", "reset", "result", "ranking"].map((part) => document.getElementById(`${id}-${part}`));
    const steps = Number(slider.max);
    const width = race.hardest - race.easiest;
    const places = Object.fromEntries(thresholds.rank(race, race.threshold).map((each) => [each.name, each.place]));
    let threshold = race.threshold;
    const at = () => Math.round((steps * (threshold - race.easiest)) / width);
    charts.extra[id] = () => [{ kind: "rule", axis: "x", at: threshold, class: "rule chosen" }];

    function show() {
      const rows = thresholds.rank(race, threshold);
      const lines = rows.map((each) => row(
        [each.name, each.seconds < Infinity ? String(each.place) : DASH, each.seconds < Infinity ? `${digits(each.seconds)} s` : "∞", `${each.reached} of ${each.runs}`, String(places[each.name])],
        race.links[each.name],
      ));
      table.tBodies[0].replaceChildren(...lines);
      result.replaceChildren(...breakable(sentence(race, threshold, rows, places)));
      slider.setAttribute("aria-valuetext", String(Number(threshold.toPrecision(6))));
      charts.again(id);
    }

    function move(to, { isTyped = false } = {}) {
      threshold = to;
      slider.value = at();
      if (!isTyped) number.value = Number(to.toPrecision(6));
      show();
    }

    // The middle of the slider is exactly the target, despite rounding.
    slider.oninput = () => move(Number(slider.value) === steps / 2 ? race.threshold : race.easiest + (width * slider.value) / steps);
    number.oninput = () => Number.isFinite(number.valueAsNumber) && move(number.valueAsNumber, { isTyped: true });
    reset.onclick = () => move(race.threshold);
    for (const control of [slider, number, reset]) control.disabled = false;
    table.hidden = false;
    move(number.value === "" ? race.threshold : number.valueAsNumber);
  }

  function controlEntries(id, race, marks) {
    const fieldset = document.querySelector(`[data-entries-of="${CSS.escape(id)}"]`);
    const curves = race.sections.find((each) => document.getElementById(each).parentElement.contains(fieldset));
    const summary = fieldset.closest("details").querySelector("summary");
    charts.extra[curves] = () => curvesOf(race, chosen(id), marks);
    fieldset.onchange = () => {
      summary.textContent = `Entries drawn (${chosen(id).length} of ${race.entries.length})`;
      charts.again(curves);
    };
  }

  // A link into a collapsed element opens it.
  function open() {
    const goal = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let each = goal?.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
    goal?.scrollIntoView();
  }

  function show(data) {
    for (const [id, race] of Object.entries(data.races)) {
      controlEntries(id, race, data.marks);
      controlThreshold(race);
    }
    charts.start(data.figures);
    tables.start();
  }

  show(JSON.parse(document.getElementById("data").textContent));
  window.addEventListener("hashchange", open);
  if (location.hash) open();
  return { show };
})();

// Joins the data of the page with its figures and controls; `show` does it again after the page has changed.
const page = (() => {
  const DASH = "\u2013";

  function digits(value) {
    if (value === Infinity) return "∞";
    if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6)) return value.toExponential(2);
    const decimals = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
    return value.toLocaleString("en", { maximumFractionDigits: Math.min(decimals, 20) });
  }

  const chosen = (id) => [...document.querySelectorAll(`[data-entries-of="${CSS.escape(id)}"] input:checked`)].map((box) => box.value);

  // All runs of an entry as one line with gaps.
  function curvesOf(race, names, marks) {
    const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
    return names.map((name) => {
      const trace = { type: "scatter", mode: "lines", x: [], y: [], text: [], name: escaped(name), opacity: 0.8 };
      const entry = race.entries.indexOf(name);
      for (const [of, seed, , , , seconds, values] of race.runs) {
        if (of !== entry) continue;
        trace.x.push(...seconds, null);
        trace.y.push(...values, null);
        trace.text.push(...seconds.map(() => `seed ${seed}`), "");
      }
      const [color, dash] = marks[name];
      const isPoints = race.runs.every((run) => run[0] !== entry || run[5].length < 2); // a single measurement is no line
      const hovertemplate = `${trace.name}, %{text}<br>%{x} s: %{y}<extra></extra>`;
      return { ...trace, mode: isPoints ? "markers" : "lines", line: { color, dash, width: 1.6 }, marker: { color, size: 8 }, hovertemplate };
    });
  }

  function row(cells, link) {
    const line = document.createElement("tr");
    cells.forEach((text, k) => {
      const cell = line.appendChild(document.createElement(k ? "td" : "th"));
      const inner = k ? cell : cell.appendChild(document.createElement("a"));
      if (!k) [cell.scope, inner.href] = ["row", `#${link}`];
      inner.textContent = text;
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
    const changed = moved ? `; ${moved} places differ from those at ${race.threshold}` : "";
    return `${goal} ${lead} with ${digits(arriving[0].seconds)} s; ${arriving.length} of ${rows.length} entries have a median time${changed}.`;
  }

  function controlThreshold(given) {
    const race = thresholds.prepare(given);
    const id = race.sections.find((each) => document.getElementById(`${each}-slider`));
    if (!id) return;
    const [slider, number, reset, said, table] = ["slider", "number", "reset", "said", "ranking"].map((part) => document.getElementById(`${id}-${part}`));
    const steps = Number(slider.max);
    const width = race.hardest - race.easiest;
    const places = Object.fromEntries(thresholds.rank(race, race.threshold).map((each) => [each.name, each.place]));
    let threshold = race.threshold;
    const at = () => Math.round((steps * (threshold - race.easiest)) / width);
    figures.extraShapes[id] = () => [{ type: "line", yref: "paper", x0: threshold, x1: threshold, y0: 0, y1: 1, line: { color: "#0081cc", width: 2 } }];

    function show() {
      const rows = thresholds.rank(race, threshold);
      const lines = rows.map((each) => row(
        [each.name, each.seconds < Infinity ? String(each.place) : DASH, each.seconds < Infinity ? `${digits(each.seconds)} s` : "∞", `${each.reached} of ${each.runs}`, String(places[each.name])],
        race.links[each.name],
      ));
      table.tBodies[0].replaceChildren(...lines);
      said.textContent = sentence(race, threshold, rows, places);
      slider.setAttribute("aria-valuetext", String(Number(threshold.toPrecision(6))));
      figures.again(id);
    }

    function move(to, { isTyped = false } = {}) {
      threshold = to;
      slider.value = at();
      if (!isTyped) number.value = Number(to.toPrecision(6));
      show();
    }

    // The middle of the slider is the target itself: rounding must not move it.
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
    figures.extraTraces[curves] = () => curvesOf(race, chosen(id), marks);
    fieldset.onchange = () => {
      summary.textContent = `Entries drawn (${chosen(id).length} of ${race.entries.length})`;
      figures.again(curves);
    };
  }

  // A link into something closed opens it.
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
    figures.start(data.figures);
  }

  show(JSON.parse(document.getElementById("data").textContent));
  window.addEventListener("hashchange", open);
  if (location.hash) open();
  return { show };
})();

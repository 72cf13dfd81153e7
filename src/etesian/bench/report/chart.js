// Draws figures as SVG at the width of their boxes. Colors of text and grid come from the style sheet, so that light, dark
// and printed pages need no second drawing. `start` takes the figures of a page; `extra` adds marks that controls make.
const charts = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const extra = {}; // by figure: makes more marks
  const zoomed = {}; // by figure: false after the reader has requested the whole range
  let figures = {};

  const SYMBOLS = {
    circle: "M4 0A4 4 0 1 1 -4 0A4 4 0 1 1 4 0z",
    square: "M-3.6 -3.6h7.2v7.2h-7.2z",
    diamond: "M0 -5L5 0L0 5L-5 0z",
    triangle: "M0 -5L4.8 4L-4.8 4z",
    star: "M0 -5.5L1.5 -1.7L5.2 -1.7L2.3 0.8L3.3 4.8L0 2.4L-3.3 4.8L-2.3 0.8L-5.2 -1.7L-1.5 -1.7z",
    hexagon: "M4.6 0L2.3 4L-2.3 4L-4.6 0L-2.3 -4L2.3 -4z",
    pentagon: "M0 -5L4.8 -1.5L2.9 4.1L-2.9 4.1L-4.8 -1.5z",
    tick: "M-1.5 -8h3v16h-3z",
  };
  const STROKED = {
    arrow: "M-3.5 -4.5L4 0L-3.5 4.5z",
    cross: "M-4 -4L4 4M-4 4L4 -4",
    fork: "M-4 -4L0 0L4 -4M0 0V5",
    ban: "M4.2 0A4.2 4.2 0 1 1 -4.2 0A4.2 4.2 0 1 1 4.2 0zM-3 3L3 -3",
  };

  function add(parent, name, attributes, text) {
    const made = parent.appendChild(document.createElementNS(NS, name));
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== null) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function label(value, isShare) {
    if (isShare) return `${Number((100 * value).toPrecision(6))}%`;
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential();
    return value.toLocaleString("en", { maximumSignificantDigits: 8 });
  }

  function roundTicks([low, high], most) {
    const rough = (high - low) / Math.max(most, 1);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
    return found;
  }

  const valuesOf = (mark, keys) => keys.flatMap((key) => mark[key] || []).filter((each) => each !== null);

  function spanOf(axis, marks, keys, name) {
    if (axis.span) return axis.span;
    const rules = marks.filter((mark) => mark.kind === "rule" && mark.axis === name).map((mark) => mark.at);
    const values = [...marks.flatMap((mark) => valuesOf(mark, keys)), ...rules].filter((each) => !axis.log || each > 0);
    let low = Infinity, high = -Infinity;
    for (const each of values) { if (each < low) low = each; if (each > high) high = each; }
    if (low > high) return axis.log ? [1, 10] : [0, 1];
    if (axis.fromZero) low = Math.min(low, 0);
    if (axis.log) return low === high ? [low / 1.5, high * 1.5] : [low / 1.08, high * 1.08];
    const pad = 0.04 * (high - low) || Math.abs(high) * 0.1 || 1;
    return [axis.fromZero && low === 0 ? 0 : low - pad, high + pad];
  }

  function scaleOf(axis, [low, high], from, to) {
    const f = axis.log ? Math.log10 : (each) => each;
    const [start, end] = [f(low), f(high)];
    return (value) => from + ((f(value) - start) / (end - start)) * (to - from);
  }

  function ticksOf(axis, [start, end], most) {
    const span = start < end ? [start, end] : [end, start]; // thresholds to minimize run from high to low
    const inside = ([at]) => at >= span[0] - 1e-12 && at <= span[1] + 1e-12;
    if (!axis.ticks) return roundTicks(span, most).map((at) => [at, label(at, axis.share)]);
    const found = axis.ticks.filter(inside);
    const every = Math.ceil(found.length / Math.max(most, 2));
    return found.filter((_, k) => k % every === 0);
  }

  function pathOf(xs, ys, sx, sy, step) {
    let path = "", previous = null;
    xs.forEach((x, k) => {
      const y = ys[k];
      if (x === null || y === null) { previous = null; return; }
      const [px, py] = [sx(x).toFixed(1), sy(y).toFixed(1)];
      path += previous === null ? `M${px} ${py}` : step ? `H${px}V${py}` : `L${px} ${py}`;
      previous = py;
    });
    return path;
  }

  const drawers = {
    band(group, mark, sx, sy) {
      const points = mark.x.map((x, k) => [x, k]);
      let path = "";
      points.forEach(([x, k]) => { path += k ? `H${sx(x).toFixed(1)}V${sy(mark.high[k]).toFixed(1)}` : `M${sx(x).toFixed(1)} ${sy(mark.high[k]).toFixed(1)}`; });
      for (let k = mark.x.length - 1; k >= 0; k--) path += `V${sy(mark.low[k]).toFixed(1)}` + (k ? `H${sx(mark.x[k]).toFixed(1)}V${sy(mark.low[k - 1]).toFixed(1)}` : "");
      add(group, "path", { d: `${path}z`, fill: mark.color, "fill-opacity": 0.13 });
    },
    line(group, mark, sx, sy) {
      const d = pathOf(mark.x, mark.y, sx, sy, mark.step);
      const path = add(group, "path", { d, class: mark.class || "line", stroke: mark.color, "stroke-dasharray": mark.dash || null });
      add(path, "title", {}, mark.text || mark.name);
      if (mark.x.length === 1 && mark.y[0] !== null) add(group, "path", { d: SYMBOLS.circle, fill: mark.color, transform: `translate(${sx(mark.x[0])} ${sy(mark.y[0])})` });
    },
    dots(group, mark, sx, sy) {
      mark.x.forEach((x, k) => {
        if (x === null) return;
        const stroked = STROKED[mark.symbol];
        const look = stroked || mark.hollow ? { fill: "none", stroke: mark.color, "stroke-width": 1.8 } : { fill: mark.color };
        const dot = add(group, "path", { d: stroked || SYMBOLS[mark.symbol], ...look, class: "dot", transform: `translate(${sx(x).toFixed(1)} ${sy(mark.y[k]).toFixed(1)})` });
        add(dot, "title", {}, mark.texts[k]);
      });
    },
    segments(group, mark, sx, sy) {
      mark.low.forEach((low, k) => {
        if (low === null || mark.high[k] === null) return;
        const line = add(group, "line", { x1: sx(low), x2: sx(mark.high[k]), y1: sy(mark.y[k]), y2: sy(mark.y[k]), stroke: mark.color, "stroke-width": mark.width, "stroke-opacity": mark.width > 3 ? 0.55 : 1 });
        if (mark.texts[k]) add(line, "title", {}, mark.texts[k]);
      });
    },
    bars(group, mark, sx, sy, id) {
      mark.low.forEach((low, k) => {
        const [a, b] = [sx(low), sx(mark.high[k])];
        const height = Math.abs(sy(0.2) - sy(-0.2));
        const shift = mark.part * 3; // overlapping bars of opposite sign stay visible
        const box = { x: Math.min(a, b), width: Math.max(Math.abs(b - a), 1), y: sy(mark.y[k]) - height / 2 + shift, height: Math.max(height - shift, 4) };
        add(add(group, "rect", { ...box, fill: mark.color, class: "bar" }), "title", {}, mark.texts[k]);
        if (mark.part % 2) add(group, "rect", { ...box, fill: `url(#${id}-stripes)`, "pointer-events": "none" });
      });
    },
  };

  function drawRule(svg, mark, sx, sy, box) {
    const isX = mark.axis === "x";
    const at = (isX ? sx : sy)(mark.at);
    if (at < (isX ? box.left : box.top) - 1 || at > (isX ? box.right : box.bottom) + 1) return;
    const ends = isX ? { x1: at, x2: at, y1: box.top, y2: box.bottom } : { x1: box.left, x2: box.right, y1: at, y2: at };
    add(svg, "line", { ...ends, class: mark.class || "rule" });
    if (mark.label && isX) add(svg, "text", { x: Math.min(at, box.right - 4), y: box.top - 6, class: "axis-text", "text-anchor": at > box.right - 60 ? "end" : "middle" }, mark.label);
    else if (mark.label) add(svg, "text", { x: box.left + 6, y: at - 5, class: "axis-text halo" }, mark.label);
  }

  function drawLegend(holder, marks) {
    const seen = new Map();
    for (const mark of marks) if (mark.name && !seen.has(mark.name) && mark.kind !== "band") seen.set(mark.name, mark);
    const list = document.createElement("ul");
    list.className = "legend";
    for (const [name, mark] of seen) {
      const button = list.appendChild(document.createElement("li")).appendChild(document.createElement("button"));
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      const svg = add(button, "svg", { width: 26, height: 12, "aria-hidden": "true" });
      if (mark.kind === "bars") add(svg, "rect", { x: 4, y: 1, width: 18, height: 10, fill: mark.color });
      else if (mark.kind === "line") add(svg, "path", { d: "M0 6H26", stroke: mark.color, "stroke-width": 2, "stroke-dasharray": mark.dash || null });
      else add(svg, "path", { d: SYMBOLS[mark.symbol] || SYMBOLS.circle, fill: mark.color, transform: "translate(13 6)" });
      button.append(name);
      const light = (isOn) => highlight(holder, isOn ? name : holder.dataset.pinned || null);
      button.onmouseenter = button.onfocus = () => light(true);
      button.onmouseleave = button.onblur = () => light(false);
      button.onclick = () => {
        const isPinned = holder.dataset.pinned === name;
        if (isPinned) delete holder.dataset.pinned; else holder.dataset.pinned = name;
        list.querySelectorAll("button").forEach((each) => each.setAttribute("aria-pressed", String(each === button && !isPinned)));
        light(!isPinned);
      };
      if (holder.dataset.pinned === name) button.setAttribute("aria-pressed", "true");
    }
    if (seen.size > 1) holder.prepend(list);
  }

  function highlight(holder, name) {
    holder.classList.toggle("muted", name !== null);
    holder.querySelectorAll("g[data-entry]").forEach((group) => group.classList.toggle("lit", group.dataset.entry === name));
  }

  function zoomButton(holder, id, figure) {
    if (!figure.focus) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "zoom";
    button.textContent = zoomed[id] === false ? "Zoom to the target" : "Show the whole range";
    button.onclick = () => {
      zoomed[id] = zoomed[id] === false;
      draw(holder);
      holder.querySelector(".zoom").focus({ preventScroll: true });
    };
    holder.append(button);
  }

  function draw(holder) {
    const id = holder.dataset.figure;
    const figure = figures[id];
    if (!figure) return;
    const marks = [...figure.marks, ...(extra[id] ? extra[id]() : [])];
    const width = Math.max(holder.clientWidth, 280);
    const height = figure.height;
    const focus = figure.focus && zoomed[id] !== false ? figure.focus : {};
    const spans = [
      focus.x || spanOf(figure.x, marks, ["x", "low", "high"].filter((key) => key === "x" || figure.y.hidden), "x"),
      focus.y || spanOf(figure.y, marks, figure.y.hidden ? ["y"] : ["y", "low", "high"], "y"),
    ];
    const yTicks = figure.y.hidden ? [] : ticksOf(figure.y, spans[1], Math.floor(height / 55));
    const longest = Math.max(0, ...yTicks.map(([, text]) => text.length));
    const box = { left: figure.y.hidden ? 10 : 22 + 7.2 * longest, right: width - 14, top: figure.y.hidden ? 22 : 14, bottom: height - 44 };
    const sx = scaleOf(figure.x, spans[0], box.left, box.right);
    const sy = scaleOf(figure.y, spans[1], box.bottom, box.top);
    holder.replaceChildren();
    const svg = add(holder, "svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", "aria-hidden": "true" });
    const defs = add(svg, "defs", {});
    add(add(defs, "clipPath", { id: `${id}-clip` }), "rect", { x: box.left - 6, y: box.top - 6, width: box.right - box.left + 14, height: box.bottom - box.top + 12 });
    const stripes = add(defs, "pattern", { id: `${id}-stripes`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    add(stripes, "rect", { width: 2, height: 6, fill: "#ffffff", "fill-opacity": 0.6 });
    for (const [at, text] of ticksOf(figure.x, spans[0], Math.floor((box.right - box.left) / 85))) {
      add(svg, "line", { x1: sx(at), x2: sx(at), y1: box.top, y2: box.bottom, class: "grid" });
      add(svg, "text", { x: sx(at), y: box.bottom + 17, class: "axis-text", "text-anchor": "middle" }, text);
    }
    for (const [at, text] of yTicks) {
      add(svg, "line", { x1: box.left, x2: box.right, y1: sy(at), y2: sy(at), class: "grid" });
      add(svg, "text", { x: box.left - 6, y: sy(at) + 4, class: "axis-text", "text-anchor": "end" }, text);
    }
    add(svg, "text", { x: (box.left + box.right) / 2, y: height - 6, class: "axis-title", "text-anchor": "middle" }, figure.x.label);
    if (figure.y.label) add(svg, "text", { transform: `translate(11 ${(box.top + box.bottom) / 2}) rotate(-90)`, class: "axis-title", "text-anchor": "middle" }, figure.y.label);
    for (const mark of marks) {
      if (mark.kind === "rule") drawRule(svg, mark, sx, sy, box);
      else if (mark.kind === "label") add(svg, "text", { x: box.left, y: sy(mark.y) + 4, class: "row-label" }, mark.text);
      else drawers[mark.kind](add(svg, "g", { "data-entry": mark.name || null, "clip-path": `url(#${id}-clip)` }), mark, sx, sy, id);
    }
    if (figure.legend !== false) drawLegend(holder, marks);
    zoomButton(holder, id, figure);
    if (holder.dataset.pinned) highlight(holder, holder.dataset.pinned);
    holder.dataset.drawn = "yes";
    holder.dataset.width = width;
  }

  const holders = () => document.querySelectorAll("[data-figure]");
  const watcher = new IntersectionObserver(
    (seen) => seen.forEach((each) => each.isIntersecting && !each.target.dataset.drawn && draw(each.target)),
    { rootMargin: "600px" },
  );

  function start(given) {
    figures = given;
    watcher.disconnect();
    holders().forEach((holder) => watcher.observe(holder));
  }

  const again = (id) => document.querySelectorAll(`[data-figure="${CSS.escape(id)}"][data-drawn]`).forEach(draw);
  window.addEventListener("resize", () => holders().forEach((holder) => holder.dataset.drawn && Number(holder.dataset.width) !== Math.max(holder.clientWidth, 280) && draw(holder)));
  window.addEventListener("beforeprint", () => holders().forEach((holder) => holder.dataset.drawn || draw(holder)));
  return { start, again, extra, highlight };
})();

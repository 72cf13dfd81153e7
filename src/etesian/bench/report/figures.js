// Draws the figures in the colors of the page, each when it comes near the window; all of them for print.
const figures = (() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const PRINTED_WIDTH = 680; // what fits between the margins of A4 and of letter paper
  const extraTraces = {}; // by figure: makes the traces that the page draws from the data of its controls
  const extraShapes = {};
  let data = {};

  const DASHES = { dash: "6 4", dot: "2 3", dashdot: "6 3 2 3", longdash: "11 4" };
  const SHAPES = {
    circle: "M13 1a4 4 0 1 0 0.01 0z",
    square: "M9 1h8v8h-8z",
    diamond: "M13 0l5 5-5 5-5-5z",
    bar: "M5 0h16v10h-16z",
  };

  // How a trace looks, and its name: a list beside the figure, since names in it would take its room.
  function keyOf(trace) {
    const isBar = trace.type === "bar";
    const item = document.createElement("li");
    const color = isBar || trace.mode === "markers" ? trace.marker.color : trace.line.color;
    const shape = SHAPES[isBar ? "bar" : trace.marker?.symbol || "circle"];
    const line = `<path d="M0 5h26" stroke="${color}" stroke-width="2" stroke-dasharray="${DASHES[trace.line?.dash] || ""}"/>`;
    const stripes = isBar && trace.marker.pattern.shape ? '<path d="M6 10l6-10M13 10l6-10" stroke="#fff" stroke-width="1.5"/>' : "";
    const drawing = isBar || trace.mode === "markers" ? `<path d="${shape}" fill="${color}"/>${stripes}` : line;
    item.innerHTML = `<svg width="26" height="10" aria-hidden="true">${drawing}</svg>${trace.name}`; // the name is escaped already
    return item;
  }

  function showLegend(box, traces) {
    let legend = box.previousElementSibling;
    if (!legend?.classList.contains("legend")) {
      legend = document.createElement("ul");
      legend.className = "legend";
      box.before(legend);
    }
    legend.replaceChildren(...traces.filter((trace) => trace.name && trace.showlegend !== false).map(keyOf));
  }

  function themed(figure, shapes, { width, printed }) {
    const isDark = dark.matches && !printed;
    const ink = isDark ? "#e6e9ed" : "#1b1f24";
    const line = isDark ? "#363d46" : "#d1d9e0";
    const faint = isDark ? "#a0a9b4" : "#59636e";
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, fixedrange: true };
    const given = figure.layout;
    return {
      ...given,
      width,
      height: figure.height,
      margin: { l: 12, r: 18, t: 26, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 13, color: ink },
      showlegend: false,
      xaxis: { ...axis, ...given.xaxis },
      yaxis: { ...axis, ...given.yaxis },
      shapes: [...(given.shapes || []), ...shapes].map((shape) => ({ line: { color: faint, width: 1.5, dash: "dash" }, ...shape })),
    };
  }

  function draw(box, options = {}) {
    const id = box.dataset.figure;
    const figure = data[id];
    if (!figure) return;
    const traces = [...figure.data, ...(extraTraces[id] ? extraTraces[id]() : [])];
    const shapes = extraShapes[id] ? extraShapes[id]() : [];
    if (figure.legend !== false) showLegend(box, traces);
    Plotly.react(box, traces, themed(figure, shapes, { width: box.clientWidth, ...options }), { displayModeBar: false });
    box.dataset.drawn = "yes";
  }

  const boxes = () => document.querySelectorAll("[data-figure]");
  const redraw = () => boxes().forEach((box) => box.dataset.drawn && draw(box));
  const watcher = new IntersectionObserver(
    (seen) => seen.forEach((each) => each.isIntersecting && !each.target.dataset.drawn && draw(each.target)),
    { rootMargin: "600px" },
  );

  function start(given) {
    data = given;
    watcher.disconnect();
    boxes().forEach((box) => watcher.observe(box));
  }

  const again = (id) => document.querySelectorAll(`[data-figure="${id}"][data-drawn]`).forEach((box) => draw(box));
  window.addEventListener("resize", redraw);
  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => boxes().forEach((box) => draw(box, { width: PRINTED_WIDTH, printed: true })));
  window.addEventListener("afterprint", redraw);
  return { start, again, extraTraces, extraShapes };
})();

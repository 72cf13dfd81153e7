// Draws the figures in the colors of the page, each when it comes near the window; all of them for print.
const figures = (() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const PRINTED_WIDTH = 680; // what fits between the margins of A4 and of letter paper
  const extraTraces = {}; // by figure: makes the traces that the page draws from the data of its controls
  const extraShapes = {};
  let data = {};

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
      showlegend: figure.legend !== false,
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", itemclick: false, itemdoubleclick: false },
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

(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const PRINTED_WIDTH = 680; // what fits between the margins of A4 and of letter paper

  function themed(figure, { width, printed }) {
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
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
      xaxis: { ...axis, ...given.xaxis },
      yaxis: { ...axis, ...given.yaxis },
      shapes: (given.shapes || []).map((shape) => ({ ...shape, line: { color: faint, width: 1.5, dash: "dash" } })),
    };
  }

  function draw(options) {
    for (const [id, figure] of Object.entries(figures)) {
      const box = document.getElementById(id);
      const layout = themed(figure, { width: box.clientWidth, ...options });
      Plotly.react(box, figure.data, layout, { displayModeBar: false });
    }
  }

  const redraw = () => draw({});
  redraw();
  window.addEventListener("resize", redraw);
  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => draw({ width: PRINTED_WIDTH, printed: true }));
  window.addEventListener("afterprint", redraw);
})();

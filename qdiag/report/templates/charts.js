// Charts are drawn when they come into view: a shut section has no width to draw in.
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)").matches;
const plotConfig = JSON.parse(document.getElementById("qd-plot-config").textContent);
const PRINT_WIDTH = 680;
const PIXELS_PER_NAME = 40;

function inkLayout() {
  return { "font.color": getComputedStyle(document.documentElement).getPropertyValue("--qd-ink").trim() };
}

// Layer names under a chart, as many as there is room for.
function thinTicks(axis, most) {
  if (!axis.tickvals) return;
  const step = Math.ceil(axis.tickvals.length / most);
  for (const key of ["tickvals", "ticktext"]) axis[key] = axis[key].filter((_, index) => index % step === 0);
}

function drawChart(plot) {
  if (plot.data) return; // plotly keeps what it drew here
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  figure.layout.font.color = inkLayout()["font.color"];
  thinTicks(figure.layout.xaxis, plot.clientWidth / PIXELS_PER_NAME);
  if (touch) figure.layout.dragmode = false; // a finger on a chart scrolls the page
  Plotly.newPlot(plot, figure.data, figure.layout, plotConfig);
  if (!figure.data.some((trace) => (trace.customdata || []).flat().some((name) => name in anchors))) return;
  plot.classList.add("qd-clickable");
  const hint = '<p class="qd-caption">Click a layer to open its details.</p>';
  plot.parentElement.querySelector(".qd-numbers").insertAdjacentHTML("beforebegin", hint);
  plot.on("plotly_click", (event) => {
    const name = event.points[0].customdata;
    if (name in anchors) openSection(name);
  });
}

const plots = [...document.querySelectorAll(".qd-plot")];
const watcher = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawChart(entry.target)),
  { rootMargin: "400px" },
);
plots.forEach((plot) => watcher.observe(plot));

const drawn = () => plots.filter((plot) => plot.data && plot.offsetParent);
dark.addEventListener("change", () => drawn().forEach((plot) => Plotly.relayout(plot, inkLayout())));
addEventListener("beforeprint", () => {
  plots.filter((plot) => plot.offsetParent).forEach(drawChart);
  drawn().forEach((plot) => Plotly.relayout(plot, { width: PRINT_WIDTH, "font.color": "#000" }));
});
addEventListener("afterprint", () => drawn().forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true, ...inkLayout() })));

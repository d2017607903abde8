// A page has plotly once; every figure on it then costs its own data only.
const shared = (globalThis[Symbol.for("qdiag.plotly")] ??= {});
const CONFIG = { displaylogo: false, displayModeBar: false };

async function unpacked(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  const parts = ["const module = { exports: {} }, exports = module.exports, define = undefined;", text, "export default module.exports;"];
  const address = URL.createObjectURL(new Blob([parts.join("\n")], { type: "text/javascript" }));
  try {
    return (await import(address)).default;
  } finally {
    URL.revokeObjectURL(address);
  }
}

const carrier = (model, name) => model.widget_manager.get_model(model.get(name).replace("IPY_MODEL_", ""));

async function render({ model, el, signal }) {
  const waiting = document.createElement("p");
  waiting.textContent = "The figure is on its way…";
  const place = document.createElement("div");
  el.append(waiting, place);
  el.style.width = "100%"; // an empty child of a flex box has none
  const [figure, library] = await Promise.all([carrier(model, "figure"), carrier(model, "library")]);
  const plotly = await (shared.plotly ??= unpacked(library.get("value")));
  if (signal.aborted) return;
  waiting.remove();

  // What is hidden has no width to draw in: it is drawn once it is seen.
  let isStale = true;
  const draw = async () => {
    isStale = !el.offsetWidth;
    if (isStale) return;
    const { data, layout } = JSON.parse(figure.get("value"));
    await plotly.react(place, data, layout, CONFIG);
    if (place.dataset.isHeard) return;
    place.dataset.isHeard = true;
    place.on("plotly_click", ({ points }) => points[0].customdata && model.send({ clicked: points[0].customdata }));
  };
  const seen = new ResizeObserver(() => isStale && draw());
  seen.observe(el);
  figure.on("change:value", draw);
  await draw();
  return () => {
    seen.disconnect();
    figure.off("change:value", draw);
    plotly.purge(place);
  };
}

export default { render };

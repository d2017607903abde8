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

const carrier = (model, name) => {
  const reference = model.get(name);
  return reference ? model.widget_manager.get_model(reference.replace("IPY_MODEL_", "")) : null;
};

// The selected layer as a line through every chart whose marks are layers.
function marks(data, name, colour) {
  const axes = new Map(data.filter((trace) => trace.customdata).map((trace) => [trace.xaxis ?? "x", trace]));
  return [...axes].flatMap(([axis, { customdata, yaxis }]) => {
    const place = customdata.indexOf(name);
    const ends = { x0: place, x1: place, y0: 0, y1: 1, xref: axis, yref: `${yaxis ?? "y"} domain` };
    return place < 0 ? [] : [{ type: "line", name: "selected", line: { color: colour, width: 2 }, ...ends }];
  });
}

async function render({ model, el, signal }) {
  const waiting = document.createElement("p");
  waiting.textContent = "The figure is on its way…";
  const place = document.createElement("div");
  el.append(waiting, place);
  const [figure, library, selection] = await Promise.all(["figure", "library", "selection"].map((one) => carrier(model, one)));
  const plotly = await (shared.plotly ??= unpacked(library.get("value")));
  if (signal.aborted) return;
  waiting.remove();

  const colour = () => getComputedStyle(el).getPropertyValue("--jp-brand-color1").trim() || "#2f85bf";
  const shapes = (data, layout) => {
    if (!selection) return layout.shapes ?? [];
    return [...(layout.shapes ?? []), ...marks(data, selection.get("value"), colour())];
  };
  // What is hidden has no width to draw in: it is drawn once it is seen.
  let isStale = true, width = 0;
  const draw = async () => {
    isStale = !el.offsetWidth;
    if (isStale) return;
    width = el.clientWidth;
    const { data, layout } = JSON.parse(figure.get("value"));
    await plotly.react(place, data, { ...layout, width, shapes: shapes(data, layout) }, CONFIG);
    if (place.dataset.isHeard || !selection) return;
    place.dataset.isHeard = true;
    place.on("plotly_click", ({ points }) => {
      if (!points[0].customdata) return;
      selection.set("value", points[0].customdata);
      selection.save_changes();
    });
  };
  const mark = () => {
    if (isStale || !place.data) return;
    const { data, layout } = JSON.parse(figure.get("value"));
    plotly.relayout(place, { shapes: shapes(data, layout) });
  };
  const seen = new ResizeObserver(() => (isStale || Math.abs(el.clientWidth - width) > 1) && draw());
  seen.observe(el);
  figure.on("change:value", draw);
  selection?.on("change:value", mark);
  await draw();
  return () => {
    seen.disconnect();
    figure.off("change:value", draw);
    selection?.off("change:value", mark);
    plotly.purge(place);
  };
}

export default { render };

// The network as a graph. Folding, colours, search and zoom are the browser's work, and ask nothing of the kernel.
const FEW = 36; // boxes that are looked at without folding
const STEP = 1.25, LEAST = 0.1, MOST = 3, STRONGEST = 62, CHARACTER = 6.7, RING = 3;
const SVG = "http://www.w3.org/2000/svg";

const carrier = (model, name) => model.widget_manager.get_model(model.get(name).replace("IPY_MODEL_", ""));

function made(tag, properties = {}, children = []) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function drawn(tag, attributes = {}, children = []) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const press = (text, title, onclick) => made("button", { type: "button", textContent: text, title, onclick });
const ancestors = (item) => (item.parent ? [item.parent, ...ancestors(item.parent)] : []);

// A name as far as its module does not say it already, within its box.
function labelOf(item, room) {
  const inside = item.parent?.name ? `${item.parent.name}.` : "";
  const name = item.name.startsWith(inside) ? item.name.slice(inside.length) : item.name.replace(item.parent.name, "");
  const most = Math.floor(room / CHARACTER);
  return name.length > most ? `…${name.slice(1 - most)}` : name;
}

// Of a folded module: the sum where parts add up to a whole, else the worst.
function valueOf(item, measure, layers) {
  const values = item.layers.map((index) => layers[index].values[measure.place]).filter((value) => value !== null);
  if (!values.length) return null;
  return measure.adds_up ? values.reduce((a, b) => a + b) : Math.max(...values);
}

const written = (value, measure) => (value === null ? "" : value.toFixed(measure.digits));

// Open at first: everything, if that is little; else what leads to the culprits, and whatever else leaves it little.
function openAtFirst(root, layers) {
  const groups = groupsOf(root).slice(1), open = new Set();
  const culprits = new Set(layers.flatMap((layer, index) => (layer.is_culprit ? [index] : [])));
  for (const group of groups) if (group.layers.some((index) => culprits.has(index))) open.add(group);
  let count = root.children.length;
  for (const group of open) count += group.children.length - 1;
  for (const group of groups) {
    const leadsTo = ancestors(group).every((one) => one === root || open.has(one));
    if (open.has(group) || !leadsTo || count + group.children.length - 1 > FEW) continue;
    open.add(group);
    count += group.children.length - 1;
  }
  return open;
}

// The picture as a file of its own: what the style sheet says is written into each element.
function standalone(svg) {
  const copy = svg.cloneNode(true), parts = [svg, ...svg.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((element, index) => {
    const style = getComputedStyle(parts[index]);
    for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "font", "text-anchor", "opacity"])
      element.style.setProperty(name, style.getPropertyValue(name));
  });
  copy.style.background = getComputedStyle(svg).getPropertyValue("--jp-layout-color1");
  copy.setAttribute("xmlns", SVG);
  return new Blob([copy.outerHTML], { type: "image/svg+xml" });
}

function save(name, blob) {
  const address = URL.createObjectURL(blob);
  made("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function boxOf(item, measure, most, layers) {
  const value = valueOf(item, measure, layers), text = written(value, measure);
  const [x, y] = [item.middle - item.width / 2, item.top];
  const share = value === null || !most ? 0 : Math.max(0, Math.min(1, value / most));
  const box = drawn("rect", { x, y, width: item.width, height: item.height, rx: item.children ? 2 : 9 });
  box.style.fill = `color-mix(in srgb, ${measure.colour} ${(STRONGEST * share).toFixed(1)}%, var(--jp-layout-color1, #fff))`;
  const room = item.width - 14 - text.length * CHARACTER - (item.children ? 30 : 0);
  const name = drawn("text", { x: x + 7, y: y + 16 });
  name.textContent = (item.children ? "▸ " : "") + labelOf(item, room);
  const figure = drawn("text", { x: x + item.width - 7, y: y + 16, class: "qd-figure-of" });
  figure.textContent = text;
  const title = drawn("title");
  const what = item.children ? `${item.layers.length} layers; click to open` : layers[item.layer].kind;
  title.textContent = `${item.name}\n${what}\n${measure.title}: ${text || "not measured"} ${text ? measure.unit : ""}`;
  const parts = [title, box, name, figure];
  if (item.layers.some((index) => layers[index].is_culprit)) {
    const ring = { x: x - RING, y: y - RING, width: item.width + 2 * RING, height: item.height + 2 * RING, rx: 9 };
    parts.splice(1, 0, drawn("rect", { ...ring, class: "qd-ring" }));
  }
  const element = drawn("g", { class: item.children ? "qd-box qd-folded" : "qd-box" }, parts);
  element.item = item;
  return element;
}

function frameOf(group, measure, layers) {
  const [x, y] = [group.middle - group.width / 2, group.top];
  const name = drawn("text", { x: x + 7, y: y + 15 });
  const figure = drawn("text", { x: x + group.width - 7, y: y + 15, class: "qd-figure-of" });
  figure.textContent = written(valueOf(group, measure, layers), measure);
  name.textContent = `▾ ${labelOf(group, group.width - 28 - figure.textContent.length * CHARACTER)}`;
  const title = drawn("title");
  title.textContent = `${group.name}\n${group.layers.length} layers; click to fold`;
  const head = drawn("g", { class: "qd-frame-head" }, [
    title,
    drawn("rect", { x, y, width: group.width, height: 22, class: "qd-frame-bar" }),
    ...[name, figure],
  ]);
  head.item = group;
  return drawn("g", {}, [drawn("rect", { x, y, width: group.width, height: group.height, class: "qd-frame", rx: 2 }), head]);
}

async function render({ model, el, signal }) {
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys that are pressed here alone
  el.classList.add("qd-graph");
  const [network, selection] = await Promise.all([carrier(model, "network"), carrier(model, "selection")]);
  if (signal.aborted) return;

  const search = made("input", { type: "search", placeholder: "Search layers", className: "qd-search" });
  search.setAttribute("aria-label", "Search layers; Enter goes to the next one found");
  const count = made("span", { className: "qd-count" });
  count.setAttribute("role", "status");
  const colours = made("select", { title: "What the colour says" });
  colours.setAttribute("aria-label", "What the colour says");
  const legend = made("span", { className: "qd-scale" });
  const scroller = made("div", { className: "qd-canvas", tabIndex: 0 });
  scroller.setAttribute("role", "group");
  scroller.setAttribute("aria-label", "The network; up and down walk through it, left folds a module, right opens it");

  let data = null, root = null, open = new Set(), measure = null, zoom = 1, layout = null, svg = null, isStale = true;
  let elements = [], lines = [], followed = "";

  const isOpen = (group) => open.has(group);
  const indexOf = (name) => data.layers.findIndex((layer) => layer.name === name);
  const elementAt = (index) => elements.find(({ item }) => item.layers.includes(index));
  const leafOf = (index) => [root, ...groupsOf(root)].flatMap((group) => group.children).find((item) => item.layer === index);

  const sized = () => {
    if (!layout) return;
    svg.setAttribute("width", layout.width * zoom);
    svg.setAttribute("height", layout.height * zoom);
  };
  const zoomTo = (wanted, x = scroller.clientWidth / 2, y = scroller.clientHeight / 2) => {
    const before = zoom;
    zoom = Math.min(MOST, Math.max(LEAST, wanted));
    const [left, top] = [(scroller.scrollLeft + x) * (zoom / before) - x, (scroller.scrollTop + y) * (zoom / before) - y];
    sized();
    scroller.scrollTo(left, top);
  };
  const fit = () => layout && zoomTo(Math.min(1, scroller.clientWidth / layout.width, scroller.clientHeight / layout.height));
  const show = (item) => {
    const [x, y] = [item.middle * zoom, (item.top + item.height / 2) * zoom];
    const { scrollLeft: left, scrollTop: top, clientWidth: width, clientHeight: height } = scroller;
    const isSeen = y > top + 30 && y < top + height - 30 && x > left + 60 && x < left + width - 60;
    if (!isSeen) scroller.scrollTo(x - width / 2, y - height / 2);
  };
  const mark = (follows) => {
    if (!layout) return;
    const index = indexOf(selection.get("value")), marked = elementAt(index);
    for (const element of elements) element.setAttribute("aria-selected", element === marked);
    for (const { line, source, targets } of lines) {
      const isNear = marked && (source === marked.item || targets.includes(marked.item));
      line.classList.toggle("qd-near", Boolean(isNear));
    }
    if (marked && follows) show(marked.item);
  };
  const sift = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.length ? foundBy(words) : [];
    for (const element of elements)
      element.classList.toggle("qd-dim", words.length > 0 && !element.item.layers.some((index) => found.includes(index)));
    count.textContent = words.length ? `${found.length} of ${data.layers.length} layers` : `${data.layers.length} layers; click one to look closer`;
    return found;
  };
  const foundBy = (words) =>
    data.layers.flatMap(({ name, kind }, index) => {
      const text = `${name} ${kind}`.toLowerCase();
      return words.every((word) => text.includes(word)) ? [index] : [];
    });
  const select = (name) => {
    if (!name || name === selection.get("value")) return;
    selection.set("value", name);
    selection.save_changes();
  };
  const explain = (most) => {
    const ramp = made("i");
    ramp.style.background = `linear-gradient(90deg, var(--jp-layout-color1, #fff), color-mix(in srgb, ${measure.colour} ${STRONGEST}%, var(--jp-layout-color1, #fff)))`;
    const ring = made("span", { title: "a layer to blame, or a module that holds one" }, [made("b"), "culprit"]);
    legend.replaceChildren("0", ramp, `${written(most, measure)} ${measure.unit}`, ring);
    legend.title = measure.help;
  };
  const draw = () => {
    isStale = !el.offsetWidth || !data;
    if (isStale) return;
    layout = layoutOf(root, data.edges, isOpen);
    const most = Math.max(0, ...layout.boxes.map((item) => valueOf(item, measure, data.layers) ?? 0));
    elements = layout.boxes.map((item) => boxOf(item, measure, most, data.layers));
    lines = layout.lines.map(({ source, targets, pieces, isBack }) => ({
      ...{ source, targets },
      line: drawn("path", { d: [...pieces].join(""), class: isBack ? "qd-line qd-back" : "qd-line" }),
    }));
    const parts = [...layout.frames.map((group) => frameOf(group, measure, data.layers)), ...lines.map(({ line }) => line), ...elements];
    svg.replaceChildren(...parts);
    svg.setAttribute("viewBox", `0 0 ${layout.width} ${layout.height}`);
    sized();
    explain(most);
    sift();
    mark(false);
  };
  // What is selected elsewhere is seen here too, though its module was folded.
  const reveal = () => {
    if (!data) return;
    const index = indexOf(selection.get("value"));
    if (index < 0) return;
    const folded = ancestors(leafOf(index)).filter((group) => group !== root && !open.has(group));
    folded.forEach((group) => open.add(group));
    if (folded.length) draw();
    mark(true);
  };
  // The module stays where the reader has it in view.
  const toggle = (group, wanted = !open.has(group)) => {
    const before = group.top;
    if (wanted) open.add(group);
    else open.delete(group);
    draw();
    scroller.scrollTop += (group.top - before) * zoom;
  };
  const receive = () => {
    if (!network.get("value")) return;
    const known = new Map((data ? groupsOf(root).slice(1) : []).map((group) => [group.name, open.has(group)]));
    data = JSON.parse(network.get("value"));
    data.measures.forEach((one, place) => (one.place = place));
    root = treeOf(data.layers);
    open = openAtFirst(root, data.layers);
    for (const group of groupsOf(root).slice(1)) if (known.has(group.name)) known.get(group.name) ? open.add(group) : open.delete(group);
    measure = data.measures.find(({ key }) => key === measure?.key) ?? data.measures[0];
    colours.replaceChildren(...data.measures.map(({ key, title }) => made("option", { value: key, textContent: title })));
    colours.value = measure.key;
    draw();
    reveal();
  };
  const walk = (by) => {
    const leaves = elements.filter(({ item }) => !item.children).map(({ item }) => item.layer).sort((a, b) => a - b);
    const now = leaves.indexOf(indexOf(selection.get("value")));
    select(data.layers[leaves[Math.min(leaves.length - 1, Math.max(0, now + by))]]?.name);
  };
  const foldAt = (wanted) => {
    const element = elementAt(indexOf(selection.get("value")));
    const group = wanted ? element?.item : element?.item.parent;
    if (group?.children && group !== root) toggle(group, wanted);
  };

  svg = drawn("svg", { role: "img", "aria-label": "The network as a graph" });
  scroller.append(svg);
  const all = (wanted) => () => {
    open = new Set(wanted ? groupsOf(root).slice(1) : []);
    draw();
    mark(true);
  };
  el.append(
    made("div", { className: "qd-tools" }, [
      ...[search, colours, legend, press("fold", "Fold all modules", all(false)), press("open", "Open all modules", all(true))],
      made("span", { className: "qd-filters" }, [
        press("−", "Smaller", () => zoomTo(zoom / STEP)),
        press("+", "Larger", () => zoomTo(zoom * STEP)),
        press("fit", "All of it in view", fit),
      ]),
      press("SVG", "Save the picture as a file", () => save(data.file, standalone(svg))),
      count,
    ]),
    scroller,
  );
  colours.onchange = () => {
    measure = data.measures.find(({ key }) => key === colours.value);
    draw();
  };
  search.oninput = sift;
  search.onkeydown = ({ key }) => {
    const found = key === "Enter" && search.value ? sift() : [];
    if (found.length) followed = data.layers[found[(found.indexOf(indexOf(followed)) + 1) % found.length]].name;
    if (found.length) select(followed);
  };
  svg.onclick = ({ target }) => {
    const item = target.closest(".qd-box, .qd-frame-head")?.item;
    if (item?.children) toggle(item);
    else if (item) select(item.name);
  };
  scroller.onkeydown = (event) => {
    const deed = {
      ...{ ArrowDown: () => walk(1), ArrowUp: () => walk(-1), PageDown: () => walk(10), PageUp: () => walk(-10) },
      ...{ ArrowLeft: () => foldAt(false), ArrowRight: () => foldAt(true), "+": () => zoomTo(zoom * STEP) },
      ...{ "-": () => zoomTo(zoom / STEP), 0: fit },
    }[event.key];
    if (!deed) return;
    event.preventDefault();
    deed();
  };
  const wheel = (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls
    event.preventDefault();
    const { left, top } = scroller.getBoundingClientRect();
    zoomTo(zoom * Math.exp(-event.deltaY / 300), event.clientX - left, event.clientY - top);
  };
  scroller.addEventListener("wheel", wheel, { passive: false });
  const seen = new ResizeObserver(() => {
    if (!isStale || !el.offsetWidth) return; // hidden, it is not drawn
    draw();
    mark(true);
  });
  seen.observe(el);
  network.on("change:value", receive);
  selection.on("change:value", reveal);
  receive();
  return () => {
    seen.disconnect();
    network.off("change:value", receive);
    selection.off("change:value", reveal);
  };
}

export default { render };

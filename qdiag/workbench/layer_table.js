// Rows are built once for each table; sorting moves them, search and filter hide them.
const FILTERS = {
  all: () => true,
  culprits: (row, data) => data.culprits.includes(row.name),
  "with weights": (row) => row.number("parameters") > 0,
};
const WORST_FIRST = { key: "", rising: true };

const carrier = (model, name) => model.widget_manager.get_model(model.get(name).replace("IPY_MODEL_", ""));

function made(tag, properties = {}, children = []) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const readable = (value) => (value === null ? null : Number(String(value).replace("inf", "Infinity")));

function barOf(parts, values, most) {
  const bar = made("span", { className: "qd-bar" });
  parts.forEach(({ name, colour }, index) => {
    const piece = made("i", { title: `${name} ${values[index]} %` });
    piece.style.cssText = `background:${colour};width:${(100 * values[index]) / most}%`;
    bar.append(piece);
  });
  return bar;
}

function cellOf(column, text, bar) {
  const cell = made(column.key === "site" ? "th" : "td", { title: column.key === "site" ? text : "" });
  if (column.key === "site") cell.scope = "row";
  cell.className = column.align;
  if (column.key === "error_percent") cell.append(bar, made("span", { className: "qd-percent", textContent: text }));
  else cell.append(text);
  return cell;
}

function rowsOf({ columns, texts, values, bars, parts }) {
  const place = Object.fromEntries(columns.map((column, index) => [column.key, index]));
  const most = Math.max(1e-9, ...bars.map((bar) => bar.reduce((sum, part) => sum + part, 0)));
  return texts.map((cells, index) => {
    const bar = barOf(parts, bars[index], most);
    const element = made("tr", {}, columns.map((column, i) => cellOf(column, cells[i], bar)));
    const name = cells[place.site];
    return {
      ...{ element, name, index, words: cells.join(" ").toLowerCase() },
      number: (key) => readable(values[index][place[key]]),
      text: (key) => cells[place[key]],
      cells,
    };
  });
}

function order(rows, { key, rising }) {
  const sign = rising ? 1 : -1;
  const compared = (a, b) => {
    if (!key) return a.index - b.index;
    const [x, y] = [a.number(key), b.number(key)];
    if (x === null && y === null) return sign * a.text(key).localeCompare(b.text(key), undefined, { numeric: true });
    if (x === null || y === null) return (x === null) - (y === null); // what has no figure is last, either way
    return sign * (x - y) || a.index - b.index;
  };
  return [...rows].sort(compared);
}

function save(name, columns, rows) {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const lines = [columns.map((column) => column.title), ...rows.map((row) => row.cells)];
  const text = lines.map((line) => line.map(quoted).join(",")).join("\n");
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  made("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

async function render({ model, el, signal }) {
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys that are pressed here alone
  el.classList.add("qd-layer-table");
  const [table, selection] = await Promise.all([carrier(model, "table"), carrier(model, "selection")]);
  if (signal.aborted) return;

  const search = made("input", { type: "search", placeholder: "Search layers", className: "qd-search" });
  search.setAttribute("aria-label", "Search layers");
  const filters = made("span", { className: "qd-filters" });
  const count = made("span", { className: "qd-count" });
  count.setAttribute("role", "status");
  const csv = made("button", { type: "button", textContent: "CSV", title: "Save the rows that are shown as a file" });
  const legend = made("span", { className: "qd-legend" });
  const head = made("thead"), body = made("tbody", { tabIndex: 0 });
  body.setAttribute("aria-label", "Layers; arrow keys walk through them");
  const scroller = made("div", { className: "qd-rows" }, [made("table", {}, [head, body])]);
  el.append(made("div", { className: "qd-tools" }, [search, filters, csv, legend, count]), scroller);

  let data = null, rows = [], ordered = [], sorting = WORST_FIRST, filter = "all";

  const shown = () => ordered.filter((row) => !row.element.hidden);
  const mark = () => {
    const name = selection.get("value");
    for (const row of rows) row.element.setAttribute("aria-selected", row.name === name);
    const row = rows.find((one) => one.name === name);
    count.textContent = `${shown().length} of ${rows.length} layers`;
    if (row?.element.hidden) count.textContent += ": the selected one is not among them";
    if (!row || row.element.hidden) return;
    const { offsetTop, offsetHeight } = row.element, covered = head.offsetHeight;
    if (offsetTop - covered < scroller.scrollTop) scroller.scrollTop = offsetTop - covered;
    const below = offsetTop + offsetHeight - scroller.clientHeight;
    if (below > scroller.scrollTop) scroller.scrollTop = below;
  };
  const select = (name) => {
    if (!name || name === selection.get("value")) return;
    selection.set("value", name);
    selection.save_changes();
  };
  const sift = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows)
      row.element.hidden = !FILTERS[filter](row, data) || !words.every((word) => row.words.includes(word));
    for (const choice of filters.children) choice.setAttribute("aria-pressed", choice.textContent === filter);
    mark();
  };
  const sort = () => {
    ordered = order(rows, sorting);
    body.append(...ordered.map((row) => row.element));
    head.querySelectorAll("th").forEach((cell) => {
      const state = cell.dataset.key !== sorting.key ? "none" : sorting.rising ? "ascending" : "descending";
      cell.setAttribute("aria-sort", state);
    });
    mark();
  };
  const sortBy = (key) => {
    // Figures begin with the greatest, names with A; a third click is the order of the start, the worst first.
    const first = data.columns.find((column) => column.key === key).align === "left" || key === "order";
    if (sorting.key !== key) sorting = { key, rising: first };
    else sorting = sorting.rising === first ? { key, rising: !first } : WORST_FIRST;
    sort();
  };
  const headOf = (column) => {
    const press = made("button", { type: "button", textContent: column.title, title: column.help });
    press.onclick = () => sortBy(column.key);
    const cell = made("th", { scope: "col", className: column.align }, [press]);
    cell.dataset.key = column.key;
    return cell;
  };
  const draw = () => {
    if (!table.get("value")) return;
    data = JSON.parse(table.get("value"));
    rows = rowsOf(data);
    head.replaceChildren(made("tr", {}, data.columns.map(headOf)));
    body.replaceChildren();
    legend.replaceChildren(
      ...data.parts.map(({ name, colour, help }) => {
        const sample = made("i");
        sample.style.background = colour;
        return made("span", { title: help }, [sample, name]);
      }),
    );
    sort();
    sift();
  };
  const step = (by) => {
    const all = shown(), now = all.findIndex((row) => row.name === selection.get("value"));
    select(all[Math.min(all.length - 1, Math.max(0, now + by))]?.name);
  };

  filters.append(
    ...Object.keys(FILTERS).map((name) => {
      const choice = made("button", { type: "button", textContent: name });
      choice.onclick = () => ((filter = name), sift());
      return choice;
    }),
  );
  search.oninput = sift;
  csv.onclick = () => save(data.file, data.columns, shown());
  body.onclick = (event) => {
    const element = event.target.closest("tr");
    select(rows.find((row) => row.element === element)?.name);
  };
  body.onkeydown = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, End: Infinity, Home: -Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    step(by);
  };
  const seen = new ResizeObserver(mark); // hidden, it has no place to scroll to
  seen.observe(scroller);
  table.on("change:value", draw);
  selection.on("change:value", mark);
  draw();
  return () => {
    seen.disconnect();
    table.off("change:value", draw);
    selection.off("change:value", mark);
  };
}

export default { render };

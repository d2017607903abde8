// One row for each version. A click selects one, a tick chooses several: neither asks anything of the kernel.
const carrier = (model, name) => model.widget_manager.get_model(model.get(name).replace("IPY_MODEL_", ""));

function made(tag, properties = {}, children = []) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function render({ model, el, signal }) {
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys that are pressed here alone
  el.classList.add("qd-version-table");
  const names = ["table", "selection", "chosen"];
  const [table, selection, chosen] = await Promise.all(names.map((name) => carrier(model, name)));
  if (signal.aborted) return;
  const head = made("thead"), body = made("tbody");
  el.append(made("div", { className: "qd-history", tabIndex: 0 }, [made("table", {}, [head, body])]));
  let rows = [];

  const ticked = () => JSON.parse(chosen.get("value") || "[]");
  const tell = (where, value) => {
    where.set("value", value);
    where.save_changes();
  };
  const mark = () => {
    const wanted = ticked();
    for (const { element, tick, name, called } of rows) {
      element.setAttribute("aria-selected", called === selection.get("value"));
      if (tick) tick.checked = wanted.includes(name);
    }
  };
  const rowOf = ({ name, called, cells }, columns) => {
    const tick = name ? made("input", { type: "checkbox", title: "Compare this one" }) : "";
    if (tick) {
      tick.setAttribute("aria-label", `compare ${called}`);
      tick.onchange = () => {
        const others = ticked().filter((other) => other !== name);
        tell(chosen, JSON.stringify(tick.checked ? [...others, name] : others));
      };
    }
    const first = made("th", { scope: "row", title: name }, [tick, cells[0]]);
    const rest = cells.slice(1).map((text, index) => made("td", { className: columns[index + 1].align, textContent: text }));
    const element = made("tr", {}, [first, ...rest]);
    element.onclick = ({ target }) => {
      if (name && target.type !== "checkbox") tell(selection, called);
    };
    return { element, tick, name, called };
  };
  const headOf = ({ title, help, align }) => made("th", { scope: "col", title: help, className: align, textContent: title });
  const draw = () => {
    if (!table.get("value")) return;
    const { columns, versions } = JSON.parse(table.get("value"));
    head.replaceChildren(made("tr", {}, columns.map(headOf)));
    rows = versions.map((version) => rowOf(version, columns));
    body.replaceChildren(...rows.map(({ element }) => element));
    mark();
  };
  table.on("change:value", draw);
  selection.on("change:value", mark);
  chosen.on("change:value", mark);
  draw();
  return () => {
    table.off("change:value", draw);
    selection.off("change:value", mark);
    chosen.off("change:value", mark);
  };
}

export default { render };

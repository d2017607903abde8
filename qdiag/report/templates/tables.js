// Tables: a click on a heading sorts, a text box filters.
const ROWS_WORTH_A_FILTER = 9;

function sortKey(cell) {
  if (cell.dataset.sort === undefined) return cell.textContent.trim();
  return cell.dataset.sort === "" ? NaN : Number(cell.dataset.sort);
}

// What is missing (NaN) comes last, whichever way the others go.
function compareKeys(a, b, sign) {
  const missing = Number.isNaN(a) - Number.isNaN(b);
  if (missing || Number.isNaN(a)) return missing;
  if (typeof a === "number" && typeof b === "number") return a === b ? 0 : sign * (a < b ? -1 : 1);
  return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortBy(heading) {
  const table = heading.closest("table");
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [sortKey(row.cells[heading.cellIndex]), row]);
  keyed.sort((a, b) => compareKeys(a[0], b[0], ascending ? 1 : -1));
  body.append(...keyed.map(([, row]) => row));
}

function addFilter(table) {
  const rows = [...table.tBodies[0].rows];
  const label = document.createElement("label");
  label.className = "qd-filter";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", "Filter rows");
  const count = document.createElement("span");
  count.setAttribute("aria-live", "polite");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
  label.append(input, count);
  table.closest(".qd-scroll").before(label);
}

for (const table of document.querySelectorAll(".qd-table table")) {
  for (const heading of table.querySelectorAll("th")) heading.querySelector("button").addEventListener("click", () => sortBy(heading));
  if (table.tBodies[0].rows.length >= ROWS_WORTH_A_FILTER) addFilter(table);
}

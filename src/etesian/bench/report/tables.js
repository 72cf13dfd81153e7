// Makes long tables sortable and searchable, and shows that there is more below.
const tables = (() => {
  const FEW = 6;

  function valueOf(row, column) {
    const cell = row.cells[column];
    const exact = cell.querySelector("data");
    const text = (exact ? exact.value : cell.firstChild?.textContent ?? "").trim();
    if (text === "inf") return Infinity;
    const number = Number(text.replace(/,/g, "").replace(/[%\u00d7]|\s*s$/g, ""));
    return text !== "" && !Number.isNaN(number) ? number : text === "\u2013" ? Infinity : cell.textContent.trim();
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a === b ? 0 : a < b ? -1 : 1;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sortBy(table, column, header) {
    const isDown = header.parentElement.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, k) => [valueOf(row, column), k, row]);
    rows.sort((a, b) => (isDown ? -1 : 1) * compare(a[0], b[0]) || a[1] - b[1]);
    table.querySelectorAll("th[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
    header.parentElement.setAttribute("aria-sort", isDown ? "descending" : "ascending");
    body.replaceChildren(...rows.map(([, , row]) => row));
  }

  function addSearch(box, table, total) {
    const bar = document.createElement("p");
    bar.className = "table-bar";
    const input = document.createElement("input");
    [input.type, input.placeholder] = ["search", "Filter"];
    input.setAttribute("aria-label", `Filter ${box.getAttribute("aria-label")}`);
    const count = document.createElement("span");
    count.setAttribute("role", "status");
    const report = (shown) => {
      const more = box.scrollHeight > box.clientHeight + 4 ? "; scroll for more" : "";
      count.textContent = shown === total ? `${total} rows${more}` : `${shown} of ${total} rows`;
    };
    input.oninput = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.cells[0].textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      report(shown);
    };
    bar.append(input, count);
    box.before(bar);
    report(total);
    box.closest("details")?.addEventListener("toggle", () => report(total), { once: true });
  }

  function fade(box) {
    const update = () => box.classList.toggle("more-below", box.scrollTop + box.clientHeight < box.scrollHeight - 4);
    box.addEventListener("scroll", update, { passive: true });
    box.closest("details")?.addEventListener("toggle", update);
    update();
  }

  function prepare(box) {
    const table = box.querySelector("table");
    const rows = table.tBodies[0].rows.length;
    if (!table.tHead || rows < 2 || table.id) return;
    for (const [column, cell] of [...table.tHead.rows[0].cells].entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      button.onclick = () => sortBy(table, column, button);
      cell.append(button);
    }
    if (rows > FEW) addSearch(box, table, rows);
    fade(box);
  }

  return { start: () => document.querySelectorAll(".scroll").forEach(prepare) };
})();

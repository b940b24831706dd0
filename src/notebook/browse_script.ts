/**
 * What makes a table page, sort and search where scripts run. It is plain JavaScript of the page, works on what is in the
 * output alone, and puts in text as text.
 *
 * Its first lines find the table by its mark: `document.currentScript` is not there in VS Code, and a page may show one output
 * twice. JupyterLab's own shortcuts would take Enter and letters from the buttons.
 */
export const BROWSE_SCRIPT: string = String.raw`
for (const root of document.querySelectorAll('[data-lb-browse="' + data.id + '"]')) {
  if (root.dataset.lbReady) continue;
  root.dataset.lbReady = "yes";
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  start(root);
}
function start(root) {
  const frame = root.querySelector(".lakebase"), table = root.querySelector("table");
  let page = 0, column = -1, down = false, rows = data.rows;
  const make = (name, text, into) => {
    const element = document.createElement(name);
    element.textContent = text;
    return into.appendChild(element);
  };
  const bar = make("div", "", frame);
  bar.className = "lb-bar";
  frame.insertBefore(bar, root.querySelector(".lb-scroll"));
  const search = make("input", "", bar);
  search.type = "search";
  search.placeholder = "Search";
  search.setAttribute("aria-label", "Search in these rows");
  const step = (text, label, by) => {
    const button = make("button", text, bar);
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => { page += by; draw(); });
    return button;
  };
  const previous = step("\u2039", "Previous page", -1), next = step("\u203a", "Next page", 1);
  const place = make("span", "", bar);
  place.setAttribute("role", "status");
  const foot = root.querySelector(".lb-foot");
  if (foot) foot.textContent = data.held;
  table.textContent = "";
  const head = make("tr", "", make("thead", "", table)), body = make("tbody", "", table);
  const heads = data.columns.map(([name, type, numeric], index) => {
    const th = make("th", "", head);
    th.scope = "col";
    th.style.textAlign = numeric ? "right" : "left";
    const button = make("button", name, th);
    button.type = "button";
    make("br", "", button);
    make("small", type, button);
    make("span", "", button).setAttribute("aria-hidden", "true");
    button.addEventListener("click", () => {
      [column, down] = column !== index ? [index, false] : down ? [-1, false] : [index, true];
      page = 0;
      arrange();
    });
    return th;
  });
  const collator = new Intl.Collator(undefined, { numeric: true });
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (!data.columns[column][2]) return down ? collator.compare(b, a) : collator.compare(a, b);
    const [x, y] = [Number(a), Number(b)], order = isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : x < y ? -1 : x > y ? 1 : 0;
    return down ? -order : order;
  };
  const arrange = () => {
    const wanted = search.value.toLowerCase();
    rows = data.rows.filter((row) => row.some((cell) => (cell ?? "NULL").toLowerCase().includes(wanted)));
    if (column >= 0) rows.sort((a, b) => compare(a[column], b[column]));
    heads.forEach((th, index) => {
      if (index === column) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
      th.querySelector("span").textContent = index !== column ? "" : down ? " \u25be" : " \u25b4";
    });
    draw();
  };
  const count = (number) => number.toLocaleString("en-US");
  const draw = () => {
    const pages = Math.max(1, Math.ceil(rows.length / data.size));
    page = Math.max(0, Math.min(pages - 1, page));
    const at = page * data.size, shown = rows.slice(at, at + data.size);
    body.textContent = "";
    for (const row of shown) {
      const tr = make("tr", "", body);
      row.forEach((cell, index) => {
        const td = make("td", "", tr);
        td.style.cssText = data.columns[index][2] ? "text-align:right" : "text-align:left;white-space:pre-wrap";
        if (cell === null) make("em", "NULL", td).className = "lb-null";
        else td.textContent = cell;
      });
    }
    previous.disabled = page === 0;
    next.disabled = page === pages - 1;
    const matching = rows.length === data.rows.length ? "" : " that match";
    place.textContent = rows.length === 0 ? "no rows" + matching
      : "rows " + count(at + 1) + " to " + count(at + shown.length) + " of " + count(rows.length) + matching;
  };
  search.addEventListener("input", () => { page = 0; arrange(); });
  arrange();
}`;

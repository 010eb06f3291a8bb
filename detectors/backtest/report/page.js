"use strict";
// Sorting and tooltips. Without this script the page shows the same: rows in their first order, titles on charts.

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table.tBodies[0], column, head.classList.contains("number"), descending ? -1 : 1);
    });
  });
}

function sort(body, column, isNumber, direction) {
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const compare = (a, b) => (isNumber ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b)));
  body.append(...[...body.rows].sort((a, b) => direction * compare(a, b)));
}

for (const plot of document.querySelectorAll(".timeline .plot")) {
  const { first, step, windows, columns, top, bottom, unit, values } = plot.dataset;
  const value = new Map(values.split(" ").filter(Boolean).map((pair) => pair.split(":")));
  const filled = [...value.keys()].map(Number);
  const bands = [...plot.querySelectorAll(".episode")].map((band) => ({
    from: Number(band.getAttribute("x")),
    to: Number(band.getAttribute("x")) + Number(band.getAttribute("width")),
    text: band.querySelector("title").textContent,
  }));
  plot.setAttribute("aria-label", plot.querySelector("title").textContent);
  plot.querySelectorAll("title").forEach((title) => title.remove()); // the browser would show it over ours
  plot.setAttribute("tabindex", "0");

  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  line.setAttribute("class", "cursor");
  line.setAttribute("y1", top);
  line.setAttribute("y2", bottom);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  plot.parentElement.append(tip);
  let current = -1;

  const time = (window) =>
    new Date((Number(first) + window * step) * 1000).toISOString().slice(0, 16).replace("T", " ");
  const begin = (column) => Math.ceil((column * windows) / columns); // a column's first window
  const times = (column) => {
    const [from, to] = [begin(column), begin(column + 1) - 1];
    const most = value.has(String(column)) ? " at most" : "";
    return to > from ? `${time(from)} to ${time(to)} UTC:${most}` : `${time(from)} UTC:`;
  };
  const show = (column) => {
    current = Math.min(Math.max(column, 0), columns - 1);
    const share = (current + 0.5) / columns;
    line.setAttribute("x1", `${100 * share}%`);
    line.setAttribute("x2", `${100 * share}%`);
    plot.append(line);
    const texts = [`${times(current)} ${value.get(String(current)) ?? "0"} ${unit}`];
    texts.push(...bands.filter((band) => band.from <= current && current < band.to).map((band) => band.text));
    tip.replaceChildren(...texts.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    tip.classList.add("shown");
    const room = plot.parentElement.clientWidth - tip.offsetWidth;
    const at = plot.getBoundingClientRect().left - plot.parentElement.getBoundingClientRect().left;
    const left = at + share * plot.getBoundingClientRect().width - tip.offsetWidth / 2;
    tip.style.left = `${Math.min(Math.max(left, 0), room)}px`;
  };
  const hide = () => {
    tip.classList.remove("shown");
    line.remove();
  };
  const pointed = (event) => {
    const box = plot.getBoundingClientRect();
    show(Math.floor(((event.clientX - box.left) / box.width) * columns));
  };
  plot.addEventListener("pointermove", pointed);
  plot.addEventListener("pointerdown", pointed);
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      hide();
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const forward = event.key === "ArrowRight";
      const next = forward ? filled.find((column) => column > current) : filled.findLast((column) => column < current);
      if (next !== undefined) show(next);
      event.preventDefault();
    }
  });
}

"use strict";

// A table. A cell is a text or a node; the first cell of a row is its heading.
function table(caption, heads, rows, kind = "") {
  return scrolled(caption, el("table", { class: kind },
    el("caption", { class: "hidden" }, caption),
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map(tableRow))));
}

function tableRow(cells) {
  return el("tr", {}, cells.map((cell, i) => i ? el("td", { dir: "auto" }, cell) : el("th", { scope: "row" }, cell)));
}

// A table that is sorted by the column whose head was clicked, by numbers largest first. A column is
// [head, value to sort by, cell]; value and cell are functions of an item, and the cell is the value if it is not given.
class SortableTable {
  constructor(caption, columns) {
    Object.assign(this, { columns, items: [], column: null, sign: 1 });
    this.heads = columns.map(([head], i) => el("th", { scope: "col" },
      el("button", { type: "button", class: "sort", onclick: () => this.sort(i) }, head)));
    this.body = el("tbody", {});
    this.node = scrolled(caption, el("table", { class: "numbers" }, el("caption", { class: "hidden" }, caption),
      el("thead", {}, el("tr", {}, this.heads)), this.body));
  }

  show(items) {
    this.items = items;
    this.draw();
    return this.node;
  }

  sort(column) {
    const texts = this.items.some((item) => typeof this.columns[column][1](item) === "string");
    this.sign = column === this.column ? -this.sign : texts ? 1 : -1;
    this.column = column;
    this.draw();
  }

  draw() {
    const sorted = [...this.items];
    if (this.column !== null) sorted.sort((a, b) => this.sign * compare(...[a, b].map(this.columns[this.column][1])));
    this.heads.forEach((head, i) => fill(head, { "aria-sort": i !== this.column ? "none" :
      this.sign > 0 ? "ascending" : "descending" }, []));
    this.body.replaceChildren(...sorted.map((item) => tableRow(this.columns.map(([, value, cell]) =>
      cell ? cell(item) : String(value(item))))));
  }
}

// Order of two texts, or of two numbers, of which null is the largest.
function compare(a, b) {
  if (typeof a === "string") return a.localeCompare(b, undefined, { numeric: true });
  const [one, other] = [a, b].map((value) => value === null ? Infinity : value);
  return one < other ? -1 : one > other ? 1 : 0;
}

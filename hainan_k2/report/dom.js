"use strict";

// Texts are always inserted as text nodes, so that no text in the data is read as markup.
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// An HTML element with attributes, event listeners (on...) and children.
function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

// An SVG element, in the same way.
function svg(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function isNumber(value) {
  return typeof value === "number";
}

function number(value, digits = 2) {
  return isNumber(value) ? value.toFixed(digits) : "–";
}

function percent(value, digits = 1) {
  return isNumber(value) ? (100 * value).toFixed(digits) : "–";
}

function length(seconds) {
  return seconds < 60 ? `${seconds.toFixed(1)} s` : seconds < 3600 ? `${(seconds / 60).toFixed(1)} minutes`
    : `${(seconds / 3600).toFixed(2)} hours`;
}

// A share or a confidence in [0, 1] as a CSS percentage.
function cssPercent(value) {
  return `${100 * Math.min(1, Math.max(0, value))}%`;
}

// The direction of a text: that of its first letter that has one.
function direction(text) {
  const strong = text.match(/\p{L}/u);
  return strong && /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u.test(strong[0])
    ? "rtl" : "ltr";
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

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

// A part of the page that scrolls where the window is too small for it.
function scrolled(label, ...children) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, children);
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

const canvas = document.createElement("canvas").getContext("2d");

function textWidth(text, font) {
  canvas.font = font;
  return canvas.measureText(text).width;
}

// Assigns each box the topmost lane in which it overlaps no earlier box.
function stack(boxes) {
  const taken = [];
  return boxes.map(({ left, right }) => {
    let lane = taken.findIndex((spans) => spans.every(([from, to]) => left >= to || right <= from));
    if (lane < 0) lane = taken.push([]) - 1;
    taken[lane].push([left, right]);
    return lane;
  });
}

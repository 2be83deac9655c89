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

// A part of the page that scrolls where the window is too small for it.
function scrolled(label, ...children) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, children);
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

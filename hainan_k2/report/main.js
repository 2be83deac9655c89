"use strict";

// The method selected on the page: all selectors and sections show the same one.
class SelectedMethod {
  constructor(methods) {
    Object.assign(this, { methods, index: 0, listeners: [], selects: [] });
  }

  listen(listener) {
    this.listeners.push(listener);
    listener(this.index);
  }

  // A selector, if there is something to select.
  select() {
    if (this.methods.length < 2) return null;
    const select = el("select", { "aria-label": "Method shown", onchange: () => this.choose(select.selectedIndex) },
      this.methods.map(({ label, description }) => el("option", { title: description }, label)));
    this.selects.push(select);
    return select;
  }

  choose(index) {
    this.index = index;
    for (const select of this.selects) select.selectedIndex = index;
    for (const listener of this.listeners) listener(index);
  }
}

// A list of names and values.
function pairs(items) {
  return el("dl", {}, items.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function main() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const selected = new SelectedMethod(data.methods);
  const parts = [
    el("header", {}, el("h1", { dir: "auto" }, data.title),
      el("p", { class: "muted" }, `${plural(data.count, "utterance")}, ${length(data.audio)} of audio`),
      pairs(data.facts)),
    new UtteranceList(data, selected).section(), summary(data), speakerSection(data, selected),
    distributionSection(data, selected), confusionSection(data, selected), calibrationSection(data),
    data.origin.length ? el("footer", {}, pairs(data.origin)) : null,
  ];
  document.getElementById("page").append(...parts.filter((part) => part !== null));
  for (const node of document.querySelectorAll("details.utterance[open]")) node.dispatchEvent(new Event("toggle"));
}

main();

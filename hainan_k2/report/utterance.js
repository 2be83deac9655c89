"use strict";

const OPEN = 3; // utterances that are open when the page loads

// The utterances shown one by one, with their sort order and filter.
function utteranceSection(data, selected) {
  const shown = data.utterances.map((utterance, i) => new UtteranceView(data, utterance, selected, i < OPEN));
  if (!shown.length) return null;
  const comparable = data.references || data.labels.length > 1, mistakes = data.references ? "errors" : "differences";
  const list = el("div", {}, shown.map((view) => view.node));
  const orders = {
    "as decoded": () => 0,
    ...(data.references ? { "highest WER first": (a, b) => b.rate() - a.rate() || b.errors() - a.errors() } : {}),
    ...(comparable ? { [`most ${mistakes} first`]: (a, b) => b.errors() - a.errors() } : {}),
    "lowest confidence first": (a, b) => a.confidence() - b.confidence(),
    "longest first": (a, b) => b.utterance.seconds - a.utterance.seconds,
  };
  const order = el("select", { onchange: () => arrange() },
    Object.keys(orders).map((name) => el("option", { value: name }, name)));
  const wanted = el("input", { type: "search", placeholder: "name or words", "aria-label": "Show utterances that contain",
    oninput: () => arrange() });
  const wrong = el("input", { type: "checkbox", onchange: () => arrange() });
  const count = el("span", { class: "muted", role: "status" });
  // Sorts and filters by the selected method.
  const arrange = () => {
    for (const view of shown) {
      view.node.hidden = !view.contains(wanted.value) || (wrong.checked && !view.errors());
    }
    list.append(...[...shown].sort(orders[order.value]).map((view) => view.node));
    const all = data.count > shown.length ? ` of ${data.count.toLocaleString("en")}` : "";
    const left = shown.filter((view) => !view.node.hidden).length;
    count.textContent = left < shown.length ? `${left} of ${shown.length} shown` : `${shown.length}${all}`;
  };
  selected.listen(arrange);
  return el("section", { "aria-labelledby": "utterances" },
    el("h2", { id: "utterances" }, "Utterances ", count, " ", selected.select()),
    el("p", { class: "legend" }, el("span", {}, "confidence 0", el("i", { class: "ramp" }), "1"),
      data.references ? el("span", {}, el("span", { class: "sub" }, "substituted"), " ",
        el("span", { class: "del" }, "deleted"), " ", el("span", { class: "ins" }, "inserted"))
        : comparable ? el("span", {}, el("span", { class: "differs" }, "the methods differ")) : null,
      el("label", {}, "order ", order), el("label", {}, "find ", wanted),
      comparable ? el("label", {}, wrong, ` with ${mistakes} only`) : null,
      el("button", { type: "button", onclick: () => shown.forEach((view) => { view.node.open = true; }) }, "open all")),
    list);
}

// One utterance: a summary line, and the details, drawn when it is opened.
class UtteranceView {
  constructor(data, utterance, selected, open) {
    Object.assign(this, { data, utterance, selected, built: false });
    this.figure = el("span", { class: "figure" });
    this.text = el("span", { class: "recognised" });
    this.transcript = el("p", { class: "transcript" });
    this.method = el("span", { class: "muted" });
    this.file = el("a", { class: "button", download: `${utterance.id.replace(/.*\/|[^\p{L}\p{N}_.-]/gu, "")}.txt` }, "download text");
    this.node = el("details", { class: "utterance", open, ontoggle: () => this.build() },
      el("summary", {}, el("code", {}, utterance.id), el("span", { class: "figure" }, `${number(utterance.seconds, 1)} s`),
        this.figure, this.text));
    selected.listen((index) => this.choose(index));
  }

  // Word errors of the selected method; without references, the columns in which the methods differ.
  errors() {
    if (!this.data.references) return this.utterance.differing.length;
    const { substitutions, deletions, insertions } = this.utterance.errors[this.selected.index];
    return substitutions + deletions + insertions;
  }

  // WER of the selected method, a fraction. With an empty reference it is infinite if there are insertions.
  rate() {
    const { rate } = this.utterance.errors[this.selected.index];
    return rate === null ? Infinity : rate;
  }

  // Whether the id, the reference or the words of the selected method contain a text, in any case.
  contains(text) {
    const { id, reference, rows } = this.utterance;
    const all = [id, (reference || []).join(" "), textOf(rows[this.selected.index])];
    return all.some((one) => one.toLowerCase().includes(text.trim().toLowerCase()));
  }

  // The confidence of the least certain word.
  confidence() {
    return Math.min(1, ...this.utterance.rows[this.selected.index].words.map((word) => word.confidence));
  }

  choose(index) {
    const row = this.utterance.rows[index], count = this.errors();
    this.figure.textContent = this.data.references ? `WER ${this.rate() === Infinity ? "∞" : percent(this.rate())} %, ` +
      plural(count, "error") : this.data.labels.length > 1 ? plural(count, "difference") : "";
    this.figure.classList.toggle("some", this.data.references && count > 0);
    this.text.textContent = row.failure || textOf(row);
    if (this.built) this.show(row);
  }

  // The transcript and the timeline of one method.
  show(row) {
    const method = this.data.methods[this.selected.index];
    this.method.textContent = `${method.label}: ${method.description}`;
    this.file.href = `data:text/plain;charset=utf-8,${encodeURIComponent(`${textOf(row)}\n`)}`;
    this.transcript.replaceChildren(...transcript(row, (start) => this.timeline.seek(start)));
    this.timeline.show(row);
  }

  // Copies the transcript. Where the browser does not allow it, the text is selected instead, ready for Ctrl+C.
  async copy(button) {
    try {
      await navigator.clipboard.writeText(textOf(this.utterance.rows[this.selected.index]));
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(this.transcript);
      button.textContent = "selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "copy text"; }, 2000);
  }

  // Details are drawn when the utterance is opened: a page may have hours of audio.
  build() {
    if (this.built || !this.node.open) return;
    this.built = true;
    const { utterance, data } = this;
    const sound = utterance.sound && el("audio", { controls: true, preload: "metadata", src: utterance.sound,
      "aria-label": `Sound of ${utterance.id}` });
    this.timeline = new Timeline(utterance, sound, data);
    const copy = el("button", { type: "button", onclick: () => this.copy(copy) }, "copy text");
    this.node.append(this.transcript, el("p", { class: "hand" }, copy, this.file, this.method),
      el("div", { class: "player" }, sound || el("span", { class: "muted" }, "This page has no sound for this utterance."), this.timeline.tools),
      this.timeline.node, comparison(data, utterance, this.node.clientWidth), nbest(utterance));
    this.show(utterance.rows[this.selected.index]);
  }
}

// The text of a method's row.
function textOf(row) {
  return row.words.map((word) => word.text).join(" ");
}

// The words of a method as running text, underlined by confidence; a click on a word plays from there.
function transcript(row, seek) {
  if (row.failure) return [el("span", { class: "warning" }, row.failure)];
  if (!row.words.length) return [el("span", { class: "muted" }, "(no words)")];
  return row.words.flatMap((word, i) => [i ? " " : "", el("span", { class: "timed", title:
    `${number(word.start)} to ${number(word.end)} s, confidence ${number(word.confidence)}`,
  style: { "--confidence": cssPercent(word.confidence) }, onclick: () => seek(word.start) }, word.text)]);
}

// The reference and the texts of all methods, aligned word by word, broken into lines.
function comparison(data, utterance, room) {
  if (!data.references && data.labels.length < 2) return null;
  const names = [data.references ? "reference" : null, ...data.labels];
  const budget = Math.max(200, room - 24 - Math.max(...names.map((n) => n ? textWidth(n, WORD_FONT) : 0)) - 40);
  const differing = new Set(utterance.differing);
  const lines = [[]];
  let used = 0;
  utterance.columns.forEach(([word, recognised], i) => {
    const width = Math.max(...[word, ...recognised].map((text) => textWidth(text || "–", WORD_FONT))) + 13;
    if (used && used + width > budget) {
      lines.push([]);
      used = 0;
    }
    used += width;
    lines[lines.length - 1].push({ word, recognised, differs: differing.has(i) });
  });
  const cell = ({ word, recognised, differs }, i) => data.references ? difference(word, recognised[i])
    : el("td", { class: differs && !utterance.rows[i].failure ? "differs" : null },
      recognised[i] || (differs && !utterance.rows[i].failure ? "–" : ""));
  const notes = utterance.rows.map((r) => r.failure || r.note);
  return el("div", { class: "comparison scroll", tabindex: 0, role: "region", "aria-label": "Differences" },
    lines.map((columns) => el("table", {}, el("tbody", {},
      data.references ? el("tr", {}, el("th", { scope: "row" }, "reference"),
        columns.map(({ word }) => el("td", { class: "ref" }, word === null ? "" : word))) : null,
      data.methods.map((method, i) => el("tr", {}, el("th", { scope: "row" }, methodName(method)),
        columns.map((column) => cell(column, i))))))),
    notes.map((note, i) => note ? el("p", { class: "muted" }, `${data.labels[i]}: ${note}`) : null));
}

// A cell of the alignment, marked if the recognised word differs from the reference word.
function difference(word, recognised) {
  if (word === recognised) return el("td", {}, recognised === null ? "" : recognised);
  if (recognised === null) return el("td", { class: "del" }, el("span", { "aria-label": `deleted ${word}` }, "–"));
  return el("td", { class: word === null ? "ins" : "sub", title: word === null ? "inserted" : `instead of ${word}` }, recognised);
}

// The n-best list of the lattice.
function nbest(utterance) {
  if (!utterance.paths.length) return null;
  return el("details", { class: "plain" }, el("summary", {}, `${utterance.paths.length} most probable texts of the lattice`),
    table("Most probable texts", ["share %", "log-probability", "text"],
      utterance.paths.map((path) => [percent(path.share), number(path.score), path.text || "(no words)"]), "paths"));
}

"use strict";

// One utterance: a summary line, and what is below it, drawn when it is opened: a page may have hours of audio.
class UtteranceView {
  constructor(data, utterance, selected) {
    const words = (row) => row.words.map(([text, start, end, confidence]) => ({ text, start, end, confidence }));
    this.rows = utterance.rows.map((row) => ({ ...row, words: words(row) }));
    Object.assign(this, { data, utterance, selected, node: null, built: false, shown: null });
  }

  // The result of the selected method.
  get row() {
    return this.rows[this.selected.index];
  }

  // Word errors of the selected method; without references, the columns in which the methods differ.
  errors() {
    if (!this.data.references) return this.utterance.differing.length;
    const { substitutions, deletions, insertions } = this.utterance.errors[this.selected.index];
    return substitutions + deletions + insertions;
  }

  // WER of the selected method, a fraction; null if it is infinite.
  rate() {
    return this.utterance.errors[this.selected.index].wer;
  }

  // Whether the id, the speaker, the reference or the words of the selected method contain a text, in any case.
  contains(text) {
    const { id, speaker, reference } = this.utterance;
    const all = [id, speaker, reference || "", textOf(this.row)];
    return all.some((one) => one.toLowerCase().includes(text.trim().toLowerCase()));
  }

  // The confidence of the least certain word.
  confidence() {
    return Math.min(1, ...this.row.words.map((word) => word.confidence));
  }

  // Draws the result of the selected method, unless it is drawn already; returns the node.
  draw() {
    if (!this.node) this.make();
    if (this.shown === this.selected.index) return this.node;
    this.shown = this.selected.index;
    const count = this.errors();
    this.figure.textContent = this.data.references ? `WER ${rateText(this.rate())} %, ${plural(count, "error")}`
      : this.data.labels.length > 1 ? plural(count, "difference") : "";
    this.figure.classList.toggle("some", this.data.references && count > 0);
    this.text.textContent = this.row.failure || textOf(this.row);
    if (this.built) this.show();
    return this.node;
  }

  make() {
    const { id, seconds, detail } = this.utterance;
    this.figure = el("span", { class: "figure" });
    this.text = el("span", { class: "recognised", dir: "auto" });
    const sound = detail && detail.sound ? el("span", { title: "with sound", role: "img", "aria-label": "with sound" }, "♪") : null;
    this.node = el("details", { class: "utterance", ontoggle: () => this.build() },
      el("summary", {}, el("code", { dir: "auto" }, id),
        el("span", { class: "figure" }, `${number(seconds, 1)} s `, sound), this.figure, this.text));
  }

  build() {
    if (this.built || !this.node.open) return;
    this.built = true;
    const { utterance, data } = this;
    this.transcript = el("p", { class: "transcript", dir: "auto" });
    this.method = el("span", { class: "muted" });
    this.file = el("a", { class: "button", download: `${utterance.id.replace(/.*\/|[^\p{L}\p{N}_.-]/gu, "")}.txt` }, "download text");
    const copy = el("button", { type: "button", onclick: () => this.copy(copy) }, "copy text");
    this.node.append(this.transcript, el("p", { class: "hand" }, copy, this.file, this.method), ...this.details(),
      ...[comparison(data, this, this.node.clientWidth), nbest(utterance)].filter(Boolean));
    this.show();
  }

  // The player and the timeline; of an utterance without details, a note.
  details() {
    const { detail, id } = this.utterance;
    if (!detail) {
      const count = this.data.utterances.filter((utterance) => utterance.detail).length;
      return [el("p", { class: "muted" }, `Sound, spectrogram and lattice are shown for ${plural(count, "utterance")} only.`)];
    }
    const sound = detail.sound && el("audio", { controls: true, preload: "metadata", src: detail.sound, "aria-label": `Sound of ${id}` });
    this.timeline = new Timeline(this.utterance, sound, this.data);
    return [el("div", { class: "player" },
      sound || el("span", { class: "muted" }, "This page has no sound for this utterance."), this.timeline.tools), this.timeline.node];
  }

  // The transcript and the timeline of the selected method.
  show() {
    const { index, methods } = this.selected, { timeline, row } = this;
    this.method.textContent = `${methods[index].label}: ${methods[index].description}`;
    this.file.href = `data:text/plain;charset=utf-8,${encodeURIComponent(`${textOf(row)}\n`)}`;
    this.transcript.replaceChildren(...transcript(row, timeline && timeline.sound && ((start) => timeline.seek(start))));
    if (timeline) timeline.show(this.utterance.detail.tokens[index], row.words);
  }

  // Copies the transcript. Where the browser does not allow it, the text is selected instead, ready for Ctrl+C.
  async copy(button) {
    try {
      await navigator.clipboard.writeText(textOf(this.row));
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(this.transcript);
      button.textContent = "selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "copy text"; }, 2000);
  }
}

// The text of a method's row.
function textOf(row) {
  return row.words.map((word) => word.text).join(" ");
}

// The words of a method as running text, underlined by confidence. With sound, a click on a word plays from there.
function transcript(row, seek) {
  if (row.failure) return [el("span", { class: "warning" }, row.failure)];
  if (!row.words.length) return [el("span", { class: "muted" }, "(no words)")];
  return row.words.flatMap((word, i) => [i ? " " : "", el("span", { class: seek ? "plays timed" : "timed", title:
    `${number(word.start)} to ${number(word.end)} s, confidence ${number(word.confidence)}`,
  style: { "--confidence": cssPercent(word.confidence) }, onclick: seek && (() => seek(word.start)) }, word.text)]);
}

// The reference and the texts of all methods, aligned word by word, broken into lines that are `room` pixels wide.
function comparison(data, { utterance, rows }, room) {
  if (!data.references && data.labels.length < 2) return null;
  const differing = new Set(utterance.differing);
  const columns = utterance.columns.map(([word, recognised], i) => ({ word, recognised, differs: differing.has(i) }));
  const names = Math.max(...["reference", ...data.labels].map((name) => textWidth(name, WORD_FONT)));
  const budget = room - 64 - Math.min(Math.max(120, 0.3 * room), names);
  const cell = ({ word, recognised, differs }, i) => data.references ? difference(word, recognised[i])
    : agreement(recognised[i], differs, rows[i].failure);
  const dir = direction(columns.map(({ word, recognised }) => [word, ...recognised].join(" ")).join(" "));
  return scrolled("Differences",
    intoLines(columns, Math.max(200, budget)).map((line) => el("table", { class: "comparison", dir }, el("tbody", {},
      data.references ? el("tr", {}, el("th", { scope: "row" }, "reference"),
        line.map(({ word }) => el("td", { class: "ref" }, word || ""))) : null,
      data.methods.map((method, i) => el("tr", {}, el("th", { scope: "row" }, methodName(method)),
        line.map((column) => cell(column, i))))))),
    rows.map(({ failure, note }, i) => failure || note ? el("p", { class: "muted" }, `${data.labels[i]}: ${failure || note}`) : null));
}

// Columns of words as lines of at most `budget` pixels; a column that is wider has a line of its own.
function intoLines(columns, budget) {
  const lines = [[]];
  let used = 0;
  for (const column of columns) {
    const width = Math.max(...[column.word, ...column.recognised].map((text) => textWidth(text || "–", WORD_FONT))) + 13;
    if (used && used + width > budget) {
      lines.push([]);
      used = 0;
    }
    used += width;
    lines[lines.length - 1].push(column);
  }
  return lines;
}

// A cell of the alignment, marked if the recognised word differs from the reference word.
function difference(word, recognised) {
  if (word === recognised) return el("td", {}, recognised === null ? "" : recognised);
  if (recognised === null) return el("td", { class: "del" }, el("span", { "aria-label": `deleted ${word}` }, "–"));
  return el("td", { class: word === null ? "ins" : "sub", title: word === null ? "inserted" : `instead of ${word}` }, recognised);
}

// A cell where there is no reference, marked if the methods have different words. A method that failed has none to compare.
function agreement(recognised, differs, failed) {
  if (failed || !differs) return el("td", {}, recognised || "");
  return el("td", { class: "differs" }, recognised || "–");
}

// The n-best list of the lattice.
function nbest(utterance) {
  const paths = utterance.detail ? utterance.detail.paths : [];
  if (!paths.length) return null;
  return el("details", { class: "plain" }, el("summary", {}, `${paths.length} most probable texts of the lattice`),
    table("Most probable texts", ["share %", "log-probability", "text"],
      paths.map((path) => [percent(path.share), number(path.score), path.text || "(no words)"]), "paths"));
}

"use strict";

const OPEN = 3; // utterances that are open when the page loads
const FIRST = 20, STEP = 100; // utterances that are listed at first, and that each click on "more" adds

// The utterances with their order and filters, which use the result of the selected method.
class UtteranceList {
  constructor(data, selected) {
    Object.assign(this, { data, selected, limit: FIRST });
    this.views = data.utterances.map((utterance) => new UtteranceView(data, utterance, selected));
    this.comparable = data.references || data.labels.length > 1;
    this.mistakes = data.references ? "errors" : "differences";
    this.orders = this.makeOrders();
    const restart = () => { this.limit = FIRST; this.draw(); };
    this.order = el("select", { onchange: restart }, Object.keys(this.orders).map((name) => el("option", { value: name }, name)));
    this.speaker = el("select", { onchange: restart }, el("option", { value: "" }, "all"),
      data.speakers.map(({ name }, i) => el("option", { value: i }, name || "unknown")));
    this.wanted = el("input", { type: "search", placeholder: "name or words", "aria-label": "Show utterances that contain",
      oninput: restart });
    this.wrong = el("input", { type: "checkbox", onchange: restart });
    this.count = el("span", { class: "muted", role: "status" });
    this.list = el("div", {});
    this.more = el("button", { type: "button", onclick: () => { this.limit += STEP; this.draw(); } });
    this.shown = [];
  }

  makeOrders() {
    const detailed = (view) => Number(Boolean(view.utterance.detail));
    const some = this.views.some(detailed) && !this.views.every(detailed);
    return {
      ...(some ? { "with sound and lattice first": (a, b) => detailed(b) - detailed(a) } : {}),
      "as decoded": () => 0,
      ...(this.data.references ? { "highest WER first": (a, b) => compare(b.rate(), a.rate()) || b.errors() - a.errors() } : {}),
      ...(this.comparable ? { [`most ${this.mistakes} first`]: (a, b) => b.errors() - a.errors() } : {}),
      "lowest confidence first": (a, b) => a.confidence() - b.confidence(),
      "longest first": (a, b) => b.utterance.seconds - a.utterance.seconds,
    };
  }

  // Shows the utterances that pass the filters, as many as `limit`, in the chosen order.
  draw() {
    const speaker = this.speaker.value && this.data.speakers[this.speaker.value].name;
    const kept = this.views.filter((view) => view.contains(this.wanted.value) && (!this.wrong.checked || view.errors()) &&
      (!this.speaker.value || view.utterance.speaker === speaker));
    this.shown = kept.sort(this.orders[this.order.value]).slice(0, this.limit);
    this.list.replaceChildren(...this.shown.map((view) => view.draw()));
    this.more.hidden = kept.length <= this.limit;
    this.more.textContent = `show ${Math.min(STEP, kept.length - this.limit)} more`;
    const [left, all] = [kept.length, this.views.length].map((n) => n.toLocaleString("en"));
    this.count.textContent = left === all ? all : `${left} of ${all} shown`;
  }

  legend() {
    const marks = this.data.references ? [el("span", { class: "sub" }, "substituted"), " ",
      el("span", { class: "del" }, "deleted"), " ", el("span", { class: "ins" }, "inserted")]
      : this.comparable ? el("span", { class: "differs" }, "the methods differ") : null;
    const openAll = () => this.shown.forEach((view) => { view.node.open = true; });
    return el("p", { class: "legend" }, el("span", {}, "confidence 0", el("i", { class: "ramp" }), "1"),
      marks && el("span", {}, marks),
      this.views.length < 2 ? null : [
        el("label", {}, "order ", this.order),
        this.data.speakers.length ? el("label", {}, "speaker ", this.speaker) : null,
        el("label", {}, "find ", this.wanted),
        this.comparable ? el("label", {}, this.wrong, ` with ${this.mistakes} only`) : null,
        el("button", { type: "button", onclick: openAll }, "open all")]);
  }

  // Which utterances a list that is too long has.
  note() {
    const { utterances, count, references, labels } = this.data;
    if (utterances.length === count) return null;
    return el("p", { class: "muted" }, `The list has ${plural(utterances.length, "utterance")} of ${count.toLocaleString("en")}: ` +
      `those with sound and lattice, and ${references ? `those with the most errors of ${labels[0]}` : "the first of the others"}. ` +
      "All other figures are about all utterances.");
  }

  section() {
    if (!this.views.length) return null;
    this.selected.listen(() => this.draw());
    for (const view of this.shown.slice(0, OPEN)) view.node.open = true;
    return el("section", { "aria-labelledby": "utterances" },
      el("h2", { id: "utterances" }, "Utterances ", this.count, " ", this.selected.select()),
      this.legend(), this.note(), this.list, this.more);
  }
}

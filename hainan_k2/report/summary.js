"use strict";

// A method's name; its description appears where the pointer or the focus is.
function methodName({ label, description }) {
  return el("abbr", { title: description, tabindex: 0 }, label);
}

// Table of error rates, or of the differences between methods if there are no references; speeds.
function summary(data) {
  const failed = data.methods.filter((m) => m.failed);
  return el("section", { "aria-labelledby": "summary" },
    data.references ? errorRates(data) : comparisonOfMethods(data),
    failed.map((m) => el("p", { class: "warning" }, `${m.label} failed on ${plural(m.failed, "utterance")}, ` +
      (data.references ? "whose results count as empty." : "which are left out where it is compared."))),
    speed(data));
}

function errorRates(data) {
  const interval = ({ interval: [low, high] }) => low === null || data.count < 2 ? "–" : `${percent(low)} – ${percent(high)}`;
  const rates = new SortableTable("Methods", [
    ["method", (m) => m.label, methodName],
    ...errorColumns(data.methods),
    ["95 % interval", (m) => m.interval[0], interval],
    ["CER %", (m) => m.cer, (m) => percent(m.cer, 2)],
    ["ECE %", (m) => m.calibration.error, (m) => percent(m.calibration.error)],
    ["search s", (m) => m.search, (m) => number(m.search)],
    ["RTF", (m) => realTimeFactor(data, m), (m) => number(realTimeFactor(data, m), 4)],
  ]);
  return [el("h2", { id: "summary" }, "Error rates"),
    el("p", { class: "muted" }, "Word errors against the references, with bootstrap intervals over utterances. " +
      "Point at a method for its description, click on a column to sort by it."),
    rates.show(data.methods)];
}

// The columns of WER, with a bar as long as its share of the largest, and of the kinds of errors.
function errorColumns(items) {
  const largest = Math.max(...items.map((item) => item.wer || 0), 1e-9);
  return [
    ["WER %", (item) => item.wer, (item) => el("span", { class: "bar",
      style: { "--share": item.wer === null ? 1 : item.wer / largest } }, rateText(item.wer, 2))],
    ["sub", (item) => item.substitutions], ["del", (item) => item.deletions], ["ins", (item) => item.insertions],
  ];
}

// A WER in percent; it is infinite if words are recognised and the reference has none.
function rateText(rate, digits = 1) {
  return rate === null ? "∞" : percent(rate, digits);
}

// Word differences of every two methods: the table is symmetric, because none of them is a reference.
function comparisonOfMethods(data) {
  const cell = (i, j) => {
    const pair = data.differences.find((d) => d.first === Math.min(i, j) && d.second === Math.max(i, j));
    return pair ? el("span", { title: plural(pair.count, "word difference") }, percent(pair.rate)) : "";
  };
  const several = data.methods.length > 1;
  return [el("h2", { id: "summary" }, several ? "Agreement of the methods" : "Method"),
    several ? el("p", { class: "muted" }, "There are no references, so it is not known which words are right. The table " +
      "has the word differences of every two methods, in percent of the words of the longer text. Point at a method " +
      "for its description.") : null,
    table("Methods", ["method", ...(several ? data.labels : []), "search s", "RTF"], data.methods.map((m, i) => [
      methodName(m), ...(several ? data.methods.map((_, j) => cell(i, j)) : []), number(m.search), number(realTimeFactor(data, m), 4)]),
    "numbers")];
}

// Seconds of encoder and search per second of audio; null where they are not known.
function realTimeFactor(data, method) {
  return isNumber(method.search) && data.audio ? ((data.encoder || 0) + method.search) / data.audio : null;
}

function speed(data) {
  const timed = data.methods.filter((m) => isNumber(m.search));
  if (!timed.length) return null;
  const longest = Math.max(...timed.map((m) => m.search + (data.encoder || 0)), 1e-9);
  const share = (seconds) => ({ width: `${100 * seconds / longest}%` });
  return el("details", { class: "plain", open: true },
    el("summary", {}, "Speed"),
    el("p", { class: "muted" }, "Seconds for all audio: ", el("i", { class: "key encoder" }), " encoder",
      isNumber(data.encoder) ? ` ${number(data.encoder)} s, shared by all methods` : " (included in the search)",
      ", ", el("i", { class: "key search" }), " search."),
    el("div", { class: "speeds" }, timed.map((m) => [
      methodName(m),
      el("span", { class: "stacked" }, el("i", { class: "encoder", style: share(data.encoder || 0) }),
        el("i", { class: "search", style: share(m.search) })),
      el("span", { class: "figure" }, `${number((data.encoder || 0) + m.search)} s`)])));
}

// Errors of every speaker by the selected method; without references, the speakers' numbers of utterances.
function speakerSection(data, selected) {
  if (!data.speakers.length) return null;
  const items = (index) => data.speakers.map((speaker, i) =>
    ({ ...speaker, ...(data.references ? data.methods[index].speakers[i] : {}) }));
  const all = data.methods.flatMap((_, index) => items(index));
  const speakers = new SortableTable("Speakers", [
    ["speaker", (s) => s.name, (s) => el("bdi", {}, s.name || "unknown")],
    ["utterances", (s) => s.count],
    ["minutes", (s) => s.seconds, (s) => number(s.seconds / 60, 1)],
    ...(data.references ? [["words", (s) => s.words], ...errorColumns(all)] : []),
  ]);
  speakers.node.classList.add("tall");
  selected.listen((index) => speakers.show(items(index)));
  return el("section", { "aria-labelledby": "speakers" },
    el("h2", { id: "speakers" }, "Speakers ", el("span", { class: "muted" }, String(data.speakers.length)), " ",
      data.references ? selected.select() : null),
    el("p", { class: "muted" }, "Click on a column to sort by it."), speakers.node);
}

// The most frequent errors of the selected method, or its most frequent differences from each other method.
function confusionSection(data, selected) {
  if (!data.references && data.methods.length < 2) return null;
  const place = el("div", { class: "columns" });
  const lists = data.references ? errorLists : differenceLists;
  selected.listen((index) => place.replaceChildren(...lists(data, index)));
  return el("section", { "aria-labelledby": "confusions" },
    el("h2", { id: "confusions" }, data.references ? "Most frequent errors" : "Most frequent differences",
      " ", selected.select()),
    place);
}

function errorLists(data, index) {
  const method = data.methods[index];
  const kinds = { substitutions: "Substitutions", deletions: "Deletions", insertions: "Insertions" };
  return Object.entries(kinds).map(([kind, name]) => {
    const { kinds: different, most } = method.confusions[kind];
    return frequent(name, `${method[kind]} in total, ${different} distinct`, most, (word, recognised) => [
      word === null ? null : el("bdi", { class: recognised === null ? "del" : "ref" }, word),
      word !== null && recognised !== null ? " → " : null,
      recognised === null ? null : el("bdi", { class: word === null ? "ins" : "sub" }, recognised)]);
  });
}

function differenceLists(data, index) {
  const pairs = data.differences.filter((pair) => pair.first === index || pair.second === index);
  return pairs.map((pair) => {
    const turned = pair.second === index, other = turned ? pair.first : pair.second;
    return frequent(`${data.labels[index]} · ${data.labels[other]}`, plural(pair.count, "difference"), pair.words,
      (...words) => (turned ? words.reverse() : words).flatMap((word, i) => [i ? " · " : null, el("bdi", {}, word || "–")]));
  });
}

// A list of pairs of words with their counts; `show` makes the nodes of a pair.
function frequent(name, note, pairs, show) {
  return el("div", {}, el("h3", {}, `${name} `, el("span", { class: "muted" }, note)),
    pairs.length ? null : el("p", { class: "muted" }, "none"),
    el("ol", { class: "confusions" }, pairs.map(([one, other, count]) => el("li", {},
      el("span", { class: "figure" }, `${count} × `), show(one, other)))));
}

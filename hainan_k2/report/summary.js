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
  const worst = Math.max(...data.methods.map((m) => m.wer || 0), 1e-9);
  const heads = ["method", "WER %", "95 % interval", "sub", "del", "ins", "CER %", "ECE %", "search s", "RTF"];
  const rows = data.methods.map((m) => [
    methodName(m),
    el("span", { class: "bar", style: { "--share": m.wer === null ? 0 : m.wer / worst } }, percent(m.wer, 2)),
    m.interval[0] === null || data.count < 2 ? "–" : `${percent(m.interval[0], 1)} – ${percent(m.interval[1], 1)}`,
    String(m.substitutions), String(m.deletions), String(m.insertions), percent(m.cer, 2),
    percent(m.calibration.error), number(m.search, 2), rtf(data, m),
  ]);
  return [el("h2", { id: "summary" }, "Error rates"),
    el("p", { class: "muted" }, "Word errors against the references, with bootstrap intervals over utterances. " +
      "Point at a method for its description."),
    table("Methods", heads, rows, "numbers")];
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
      methodName(m), ...(several ? data.methods.map((_, j) => cell(i, j)) : []), number(m.search, 2), rtf(data, m)]),
    "numbers")];
}

// Real-time factor: seconds of encoder and search per second of audio.
function rtf(data, method) {
  if (method.search === null || method.search === undefined || !data.audio) return "–";
  return number((method.search + (data.encoder || 0)) / data.audio, 4);
}

function speed(data) {
  const timed = data.methods.filter((m) => m.search !== null && m.search !== undefined);
  if (!timed.length) return null;
  const longest = Math.max(...timed.map((m) => m.search + (data.encoder || 0)), 1e-9);
  const share = (seconds) => ({ width: `${100 * seconds / longest}%` });
  return el("details", { class: "plain", open: true },
    el("summary", {}, "Speed"),
    el("p", { class: "muted" }, "Seconds for all audio: ", el("i", { class: "key encoder" }), " encoder",
      data.encoder === null || data.encoder === undefined ? " (included in the search)" : ` ${number(data.encoder)} s, shared by all methods`,
      ", ", el("i", { class: "key search" }), " search."),
    el("div", { class: "speeds" }, timed.map((m) => [
      methodName(m),
      el("span", { class: "stacked" }, el("i", { class: "encoder", style: share(data.encoder || 0) }),
        el("i", { class: "search", style: share(m.search) })),
      el("span", { class: "figure" }, `${number((data.encoder || 0) + m.search)} s`)])));
}

// A reliability diagram for every method.
function calibrationSection(data) {
  if (!data.references) return null;
  return el("section", { "aria-labelledby": "calibration" },
    el("h2", { id: "calibration" }, "Calibration of confidence"),
    el("p", { class: "muted" }, "Accuracy of words by their confidence. On the diagonal, confidence equals accuracy; " +
      "below it, the model is overconfident. The area of a dot is the number of words. ECE, the expected calibration " +
      "error, is the mean distance from the diagonal."),
    el("div", { class: "charts" }, data.methods.map(reliability)));
}

function reliability(method) {
  const size = 150, low = 26, { bins, error, words, left_out: leftOut } = method.calibration;
  const x = (share) => low + share * size, y = (share) => 6 + (1 - share) * size;
  const ticks = [0, 0.5, 1];
  const labels = bins.map((b) => `${plural(b.count, "word")} with confidence ${number(b.confidence)}: ${percent(b.accuracy)} % correct`);
  const most = Math.max(...bins.map((b) => b.count), 1);
  return el("figure", {},
    svg("svg", { viewBox: `0 0 ${size + low + 10} ${size + 36}`, role: "img", class: "reliability",
      "aria-label": `${method.label}: ${labels.join("; ")}` },
      svg("rect", { x: low, y: 6, width: size, height: size, class: "frame" }),
      svg("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "diagonal" }),
      ticks.map((t) => [svg("text", { x: x(t), y: size + 20, "text-anchor": "middle" }, String(t)),
        svg("text", { x: low - 4, y: y(t) + 4, "text-anchor": "end" }, String(t))]),
      svg("text", { x: x(0.5), y: size + 34, "text-anchor": "middle" }, "confidence"),
      svg("polyline", { points: bins.map((b) => `${x(b.confidence)},${y(b.accuracy)}`).join(" "), class: "curve" }),
      bins.map((b, i) => svg("circle", { cx: x(b.confidence), cy: y(b.accuracy), class: "bin",
        r: 2 + 6 * Math.sqrt(b.count / most) }, svg("title", {}, labels[i])))),
    el("figcaption", {}, el("b", {}, methodName(method)), el("br"),
      `ECE ${percent(error)} %, ${plural(words, "word")}`,
      leftOut ? el("span", { class: "muted" }, ` (${plural(leftOut, "utterance")} left out: their words are split differently for scoring)`) : null));
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
      word === null ? null : el("span", { class: recognised === null ? "del" : "ref" }, word),
      word !== null && recognised !== null ? " → " : null,
      recognised === null ? null : el("span", { class: word === null ? "ins" : "sub" }, recognised)]);
  });
}

function differenceLists(data, index) {
  const pairs = data.differences.filter((pair) => pair.first === index || pair.second === index);
  return pairs.map((pair) => {
    const turned = pair.second === index, other = turned ? pair.first : pair.second;
    return frequent(`${data.labels[index]} · ${data.labels[other]}`, plural(pair.count, "difference"), pair.words,
      (...words) => [(turned ? words[1] : words[0]) || "–", " · ", (turned ? words[0] : words[1]) || "–"]);
  });
}

// A list of pairs of words with their counts; `show` makes the nodes of a pair.
function frequent(name, note, pairs, show) {
  return el("div", {}, el("h3", {}, `${name} `, el("span", { class: "muted" }, note)),
    pairs.length ? null : el("p", { class: "muted" }, "none"),
    el("ol", { class: "confusions" }, pairs.map(([one, other, count]) => el("li", {},
      el("span", { class: "figure" }, `${count} × `), show(one, other)))));
}

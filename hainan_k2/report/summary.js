"use strict";

// Table of error rates, or of differences from the first method if there are no references.
function summary(data) {
  const known = data.references;
  const first = data.labels[0];
  const worst = Math.max(...data.methods.map((m) => m.wer || 0), 1e-9);
  const heads = ["method", known ? "WER %" : `difference from ${first} %`, "95 % interval", "sub", "del", "ins",
    "CER %", ...(known ? ["ECE %"] : []), "search s", "RTF"];
  const rows = data.methods.map((m) => [
    el("span", { title: m.description }, m.label),
    el("span", { class: "bar", style: { "--share": m.wer === null ? 0 : m.wer / worst } }, percent(m.wer, 2)),
    m.interval[0] === null || data.count < 2 ? "–" : `${percent(m.interval[0], 1)} – ${percent(m.interval[1], 1)}`,
    String(m.substitutions), String(m.deletions), String(m.insertions), percent(m.cer, 2),
    ...(known ? [percent(m.calibration.error)] : []), number(m.search, 2), rtf(data, m),
  ]);
  const failed = data.methods.filter((m) => m.failed);
  return el("section", { "aria-labelledby": "summary" },
    el("h2", { id: "summary" }, known ? "Error rates" : "Agreement"),
    el("p", { class: "muted" }, known
      ? "Word errors against the references, with bootstrap intervals over utterances. Point at a method for its description."
      : `There are no references: every method is compared with ${first}. A difference is not necessarily an error.`),
    table("Methods", heads, rows, "numbers"),
    failed.map((m) => el("p", { class: "warning" }, `${m.label} failed on ${plural(m.failed, "utterance")}, whose ` +
      "results count as empty.")),
    speed(data));
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
      el("span", {}, m.label),
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
    el("figcaption", {}, el("b", {}, method.label), el("br"),
      `ECE ${percent(error)} %, ${plural(words, "word")}`,
      leftOut ? el("span", { class: "muted" }, ` (${plural(leftOut, "utterance")} left out: their words are split differently for scoring)`) : null));
}

// The most frequent substitutions, deletions and insertions of the selected method.
function confusionSection(data, selected) {
  const place = el("div", { class: "columns" });
  const kinds = { substitutions: "Substitutions", deletions: "Deletions", insertions: "Insertions" };
  selected.listen((index) => {
    const method = data.methods[index];
    place.replaceChildren(...Object.entries(kinds).map(([kind, name]) => {
      const { kinds: different, most } = method.confusions[kind];
      return el("div", {},
        el("h3", {}, `${name} `, el("span", { class: "muted" }, `${method[kind]} in total, ${different} distinct`)),
        most.length ? null : el("p", { class: "muted" }, "none"),
        el("ol", { class: "confusions" }, most.map(([word, recognised, count]) => el("li", {},
          el("span", { class: "figure" }, `${count} × `),
          word === null ? null : el("span", { class: recognised === null ? "del" : "ref" }, word),
          word !== null && recognised !== null ? " → " : null,
          recognised === null ? null : el("span", { class: word === null ? "ins" : "sub" }, recognised)))));
    }));
  });
  return el("section", { "aria-labelledby": "confusions" },
    el("h2", { id: "confusions" }, data.references ? "Most frequent errors" : "Most frequent differences",
      " ", selected.select()),
    place);
}

"use strict";

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

// Reliability diagram of a method.
function reliability(method) {
  const size = 150, low = 26, { bins, error, words, left_out: leftOut } = method.calibration;
  const x = (share) => low + share * size, y = (share) => 6 + (1 - share) * size;
  const labels = bins.map((b) => `${plural(b.count, "word")} with confidence ${number(b.confidence)}: ${percent(b.accuracy)} % correct`);
  const most = Math.max(...bins.map((b) => b.count), 1);
  return el("figure", {},
    svg("svg", { viewBox: `0 0 ${size + low + 10} ${size + 36}`, role: "img", class: "chart reliability",
      "aria-label": `${method.label}: ${labels.join("; ")}` },
      svg("rect", { x: low, y: 6, width: size, height: size, class: "frame" }),
      svg("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "diagonal" }),
      [0, 0.5, 1].map((t) => [svg("text", { x: x(t), y: size + 20, "text-anchor": "middle" }, String(t)),
        svg("text", { x: low - 4, y: y(t) + 4, "text-anchor": "end" }, String(t))]),
      svg("text", { x: x(0.5), y: size + 34, "text-anchor": "middle" }, "confidence"),
      svg("polyline", { points: bins.map((b) => `${x(b.confidence)},${y(b.accuracy)}`).join(" "), class: "curve" }),
      bins.map((b, i) => svg("circle", { cx: x(b.confidence), cy: y(b.accuracy), class: "bin",
        r: 2 + 6 * Math.sqrt(b.count / most) }, svg("title", {}, labels[i])))),
    el("figcaption", {}, el("b", {}, methodName(method)), el("br"),
      `ECE ${percent(error)} %, ${plural(words, "word")}`,
      leftOut ? el("span", { class: "muted" },
        ` (${plural(leftOut, "utterance")} left out: their words are split differently for scoring)`) : null));
}

// A histogram of utterances. `describe(i)` completes "3 utterances ..." for bin i; `marks` are texts below the axis,
// [position in bins, text].
function histogram(name, counts, describe, marks) {
  const width = 400, high = 110, each = width / counts.length, most = Math.max(...counts, 1);
  const labels = counts.map((count, i) => `${plural(count, "utterance")} ${describe(i)}`);
  const bar = (count, i) => {
    const tall = high * count / most;
    return svg("g", {}, svg("title", {}, labels[i]),
      svg("rect", { x: i * each + 1, y: 14 + high - tall, width: each - 2, height: tall, class: "bin" }),
      svg("text", { x: (i + 0.5) * each, y: 10 + high - tall, "text-anchor": "middle" }, short(count)));
  };
  return el("figure", {}, el("figcaption", {}, name),
    svg("svg", { viewBox: `-12 0 ${width + 24} ${high + 32}`, role: "img", class: "chart histogram",
      "aria-label": `${name}: ${labels.filter((_, i) => counts[i]).join("; ")}` },
      counts.map((count, i) => count ? bar(count, i) : null),
      svg("line", { x1: 0, x2: width, y1: high + 14.5, y2: high + 14.5, class: "axis" }),
      marks.map(([at, text]) => svg("text", { x: at * each, y: high + 28, "text-anchor": "middle" }, text))));
}

function short(count) {
  return count < 1000 ? String(count) : `${(count / 1000).toFixed(count < 10000 ? 1 : 0)}k`;
}

// Histograms of the durations and, with references, of the WER of the utterances.
function distributionSection(data, selected) {
  if (data.count < 2) return null;
  const place = el("div", { class: "histograms" });
  selected.listen((index) => place.replaceChildren(durationHistogram(data.durations),
    ...(data.references ? [rateHistogram(data.methods[index])] : [])));
  return el("section", { "aria-labelledby": "distributions" },
    el("h2", { id: "distributions" }, data.references ? "Durations and error rates" : "Durations",
      data.references ? [" ", selected.select()] : null),
    place);
}

function durationHistogram({ step, counts }) {
  const [unit, size] = step < 60 ? ["s", step] : ["minutes", step / 60];
  const edge = (i) => String(Number((i * size).toFixed(1)));
  const every = [1, 2, 4, 10, 20].find((n) => n * 8 >= counts.length) || Math.ceil(counts.length / 8);
  const marks = [...Array(counts.length + 1).keys()].filter((i) => i % every === 0).map((i) => [i, edge(i)]);
  return histogram(`Utterances by duration in ${unit}`, counts, (i) => `of ${edge(i)} to ${edge(i + 1)} ${unit}`, marks);
}

function rateHistogram({ rates }) {
  const last = rates.length - 1;
  const describe = (i) => i === 0 ? "without an error" : i === last ? "with a WER above 100 %"
    : i === 1 ? "with a WER of up to 10 %" : `with a WER above ${10 * (i - 1)} and up to ${10 * i} %`;
  const marks = [0, 2, 4, 6, 8].map((i) => [i + 0.5, i ? `≤ ${10 * i}` : "0"]);
  return histogram("Utterances by WER in %", rates, describe, [...marks, [last + 0.5, "> 100"]]);
}

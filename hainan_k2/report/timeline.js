"use strict";

const WORD_FONT = "13px system-ui, sans-serif", TOKEN_FONT = "11px ui-monospace, monospace";
const LANE = 22, GUTTER = 84, SPACE = 10; // pixels

// Waveform, spectrogram, tokens, words and word graph of an utterance over one time axis, with a line at the playback position.
class Timeline {
  constructor({ seconds, detail }, sound, { kilohertz, step }) {
    Object.assign(this, { seconds, detail, sound, kilohertz, step, tokens: [], words: [], zoom: 1 });
    this.line = el("div", { class: "playhead", "aria-hidden": "true" });
    this.node = el("div", { class: "timeline", tabindex: 0, role: "group",
      "aria-label": "Waveform, spectrogram, tokens, words and lattice over time" });
    this.tools = el("span", { class: "tools" }, "zoom ",
      ...[["−", 0.5, "out"], ["+", 2, "in"]].map(([sign, factor, way]) => el("button", { type: "button",
        "aria-label": `Zoom ${way}`, onclick: () => this.magnify(factor) }, sign)));
    if (sound) {
      for (const event of ["timeupdate", "seeked"]) sound.addEventListener(event, () => this.follow());
      sound.addEventListener("play", () => this.run());
    }
  }

  magnify(factor) {
    this.zoom = Math.min(16, Math.max(0.5, this.zoom * factor));
    this.draw();
  }

  // Draws the tokens and the words of a method.
  show(tokens, words) {
    Object.assign(this, { tokens, words });
    this.draw();
  }

  draw() {
    const room = (this.node.clientWidth || 1000) - GUTTER - 12;
    this.scale = this.zoom * Math.min(300, Math.max(60, room / this.seconds)); // pixels per second
    const width = Math.ceil(this.seconds * this.scale);
    this.timed = [];
    this.node.replaceChildren(
      this.band("seconds", width, this.ruler()),
      ...(this.detail.envelope.length ? [this.band("waveform", width, this.waveform(width))] : []),
      this.band("spectrogram", width, this.picture(width), this.frequencies()),
      this.band("tokens", width, this.spans(this.tokens, TOKEN_FONT, "token")),
      this.band("words", width, this.spans(this.words, WORD_FONT, "word")),
      ...(this.detail.graph.nodes.length ? [this.band("lattice", width, this.graph(width))] : []),
      this.line);
    this.follow();
  }

  band(name, width, content, marks = null) {
    return el("div", { class: `band ${name}` }, el("div", { class: "gutter" }, name, marks),
      el("div", { class: "content", style: { width: `${width}px` }, onclick: (event) => this.clicked(event) }, content));
  }

  clicked(event) {
    const left = event.currentTarget.getBoundingClientRect().left;
    this.seek((event.clientX - left) / this.scale);
  }

  seek(seconds) {
    if (this.sound) this.sound.currentTime = Math.min(Math.max(0, seconds), this.seconds);
  }

  ruler() {
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60].find((s) => s * this.scale >= 48) || 60;
    const count = Math.max(0, Math.floor((this.seconds - 24 / this.scale) / step));
    return Array.from({ length: count + 1 }, (_, i) => el("span", { class: "tick",
      style: { left: `${i * step * this.scale}px` } }, number(i * step, step < 1 ? 1 : 0)));
  }

  picture(width) {
    const tiles = this.detail.pictures.map(([source, seconds]) => el("img", { src: source, alt: "",
      style: { width: `${seconds * this.scale}px` } }));
    const marks = this.tokens.map((token) => el("i", { class: "mark", style: {
      left: `${token.start * this.scale}px`, width: `${Math.max(2, (token.end - token.start) * this.scale - 1)}px`,
      "--confidence": cssPercent(token.confidence) } }));
    return [el("div", { class: "tiles", style: { width: `${width}px` } }, tiles), ...marks];
  }

  // The peaks of the sound, one line per pixel at most.
  waveform(width) {
    const { envelope } = this.detail, each = Math.max(1, Math.ceil(1 / (this.step * this.scale)));
    const lines = [];
    for (let i = 0; i < envelope.length; i += each) {
      const x = number((i + each / 2) * this.step * this.scale, 1), y = 0.15 * Math.max(...envelope.slice(i, i + each));
      lines.push(`M${x} ${number(16 - y, 1)}V${number(16 + y, 1)}`);
    }
    return svg("svg", { width, height: 32, class: "peaks", "aria-hidden": "true" },
      svg("path", { d: lines.join(""), style: { "stroke-width": Math.max(1, each * this.step * this.scale - 0.5) } }));
  }

  // The marks of the spectrogram's axis.
  frequencies() {
    if (!this.detail.pictures.length) return null;
    return this.kilohertz.map(([kilohertz, share]) => el("span", { class: "mel", style: { bottom: `${100 * share}%` } },
      `${kilohertz} kHz`));
  }

  // Tokens or words at their times, in several lanes where their texts would overlap.
  spans(items, font, kind) {
    const boxes = items.map((item) => {
      const left = item.start * this.scale;
      const long = Math.max((item.end - item.start) * this.scale, textWidth(item.text, font) + 5);
      return { left, right: left + long };
    });
    const lanes = stack(boxes);
    const place = el("div", { class: "spans", style: { height: `${LANE * (1 + Math.max(0, ...lanes))}px` } });
    items.forEach((item, i) => {
      const label = `${item.text}  ${number(item.start)} to ${number(item.end)} s, confidence ${number(item.confidence)}` +
        (kind === "token" ? `, frame ${item.frame}, duration ${item.duration}` : "");
      const node = el(kind === "word" ? "button" : "span", { class: `span ${kind}`, title: label,
        type: kind === "word" ? "button" : null, "aria-label": kind === "word" ? label : null,
        onclick: (event) => { event.stopPropagation(); this.seek(item.start); },
        style: { left: `${boxes[i].left}px`, top: `${LANE * lanes[i]}px`, "--confidence": cssPercent(item.confidence) } },
        el("i", { style: { width: `${Math.max(3, (item.end - item.start) * this.scale - 1)}px` } }), item.text);
      place.append(node);
      this.timed.push([item.start, item.end, node]);
    });
    return place;
  }

  // The most probable texts as a graph; opacity and width of an edge are its probability.
  graph(width) {
    const { nodes, edges } = this.detail.graph;
    const high = 24, boxes = nodes.map((node) => {
      const left = node.start * this.scale;
      const long = Math.max((node.end - node.start) * this.scale - SPACE, textWidth(node.text, WORD_FONT) + 8);
      return { left, right: left + long };
    });
    const lanes = stack(boxes.map(({ left, right }) => ({ left, right: right + SPACE }))), middle = (i) => 12 + high * lanes[i];
    const drawn = svg("svg", { width: width + 80, height: high * (1 + Math.max(0, ...lanes)), role: "img",
      "aria-label": `Word graph of ${plural(this.detail.paths.length, "text")}` });
    for (const [from, to, mass] of edges) {
      const [x, y, u, v] = [boxes[from].right, middle(from), boxes[to].left, middle(to)];
      const bend = Math.max(10, Math.abs(u - x) / 2);
      drawn.append(svg("path", { d: `M${x} ${y}C${x + bend} ${y} ${u - bend} ${v} ${u} ${v}`, class: "edge",
        style: { "stroke-width": 0.75 + 2 * mass, "stroke-opacity": 0.3 + 0.7 * mass } }));
    }
    nodes.forEach((node, i) => {
      const label = `${node.text}: in ${percent(node.mass)} % of the probability, from ${number(node.start)} s`;
      drawn.append(svg("g", { class: "node", style: { "--confidence": cssPercent(node.mass) },
        onclick: (event) => { event.stopPropagation(); this.seek(node.start); } },
        svg("title", {}, label),
        svg("rect", { x: boxes[i].left, y: middle(i) - 9, width: boxes[i].right - boxes[i].left, height: 18, rx: 4 }),
        svg("text", { x: boxes[i].left + 4, y: middle(i) + 4 }, node.text)));
    });
    return drawn;
  }

  // Follows the sound while it plays.
  run() {
    if (this.sound.paused || this.sound.ended) return;
    this.follow();
    requestAnimationFrame(() => this.run());
  }

  // Moves the line to the playback position and marks the current token and word.
  follow() {
    const now = this.sound ? this.sound.currentTime : 0, x = GUTTER + now * this.scale;
    this.line.style.transform = `translateX(${x}px)`;
    for (const [start, end, node] of this.timed) node.classList.toggle("now", now > 0 && start <= now && now < end);
    if (!this.sound || this.sound.paused) return;
    const { scrollLeft, clientWidth } = this.node;
    if (x < scrollLeft + GUTTER || x > scrollLeft + 0.9 * clientWidth) this.node.scrollLeft = x - clientWidth / 3;
  }
}

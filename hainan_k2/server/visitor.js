"use strict";

// The page: two ways in, the words, and the report page of what was recognised.
class Visitor {
  constructor(data) {
    Object.assign(this, { data, words: new Words(), stream: null, recording: null, busy: false });
    this.speak = el("button", { type: "button", onclick: () => this.toggle() }, "Speak");
    this.choose = el("input", { type: "file", accept: "audio/*", hidden: true, onchange: () => this.chosen() });
    this.open = el("button", { type: "button", onclick: () => this.choose.click() }, "Open a file");
    this.level = el("meter", { min: 0, max: 1, low: 0.02, high: 0.9, optimum: 0.5, hidden: true, "aria-label": "Level" });
    this.status = el("span", { class: "muted", role: "status" });
    this.copy = el("button", { type: "button", hidden: true, onclick: () => this.copied() }, "copy text");
    this.details = el("button", { type: "button", hidden: true, onclick: () => this.report(this.recording) }, "show lattice");
    this.frame = el("div", {});
    this.node = el("section", { class: "drop", "aria-label": "Recognition" },
      el("div", { class: "ways" }, this.speak, this.open, this.choose, this.level, this.status),
      this.words.node,
      el("p", { class: "legend" }, el("span", {}, "confidence 0", el("i", { class: "ramp" }), "1"), this.copy, this.details));
    this.acceptDrops();
  }

  acceptDrops() {
    const over = (event, inside) => {
      event.preventDefault();
      this.node.classList.toggle("over", inside);
    };
    document.addEventListener("dragover", (event) => over(event, true));
    document.addEventListener("dragleave", (event) => over(event, false));
    document.addEventListener("drop", (event) => {
      over(event, false);
      const [file] = event.dataTransfer.files;
      if (file && !this.stream && !this.busy) this.transcribe(file);
    });
  }

  say(text, warning = false) {
    this.status.textContent = text;
    this.status.classList.toggle("warning", warning);
  }

  // Begins with an empty page.
  begin() {
    this.words.clear();
    this.frame.replaceChildren();
    this.recording = null;
    this.copy.hidden = this.details.hidden = true;
  }

  // What can be done depends on what is going on.
  update() {
    this.speak.textContent = this.stream ? "Stop" : "Speak";
    this.speak.classList.toggle("on", Boolean(this.stream));
    this.speak.disabled = this.busy;
    this.open.disabled = this.busy || Boolean(this.stream);
    this.level.hidden = !this.stream;
    const done = !this.busy && !this.stream;
    this.copy.hidden = !done || !this.words.text;
    this.details.hidden = !done || !this.recording;
  }

  async toggle() {
    if (this.stream) {
      if (!this.stream.stopping) this.stream.stop();
      this.say("the last words follow");
      return;
    }
    this.begin();
    this.busy = true;
    this.update();
    const stream = new LiveStream({
      update: ({ words, partial, endpoint }) => this.words.add(words, partial, endpoint),
      sound: (samples) => {
        this.level.value = Math.min(1, Math.max(...samples.map(Math.abs)) / 32768);
        this.say(length(stream.seconds));
      },
      end: () => this.ended(stream, ""),
      error: (message) => this.ended(stream, message),
    });
    try {
      await stream.start();
      this.stream = stream;
      this.say("speak now");
    } catch (error) {
      this.say(error.message, true);
    }
    this.busy = false;
    this.update();
  }

  ended(stream, message) {
    if (this.stream !== stream) return;
    this.stream = null;
    if (stream.pcm.length && stream.seconds <= this.data.reportSeconds) this.recording = stream.file();
    this.say(message || length(stream.seconds), Boolean(message));
    this.update();
  }

  chosen() {
    const [file] = this.choose.files;
    this.choose.value = "";
    if (file) this.transcribe(file);
  }

  // Shows the words of a file, then its report page.
  async transcribe(file) {
    this.begin();
    await this.work(`${file.name}: being recognised`, async () => {
      const response = await send("v1/audio/transcriptions", file, { response_format: "verbose_json" });
      const { words, duration, segments } = await response.json();
      this.words.add(words.map(({ word, ...times }) => ({ text: word, ...times })));
      this.say(`${file.name}: ${length(duration)}, ${plural(words.length, "word")}, ${plural(segments.length, "segment")}`);
      if (duration <= this.data.reportSeconds) this.recording = file;
    });
    if (this.recording) await this.report(file);
  }

  // Shows the report page of a file in a frame, without access to this page.
  async report(file) {
    const before = this.status.textContent;
    await this.work(`${before}; its lattice is being drawn`, async () => {
      const page = await (await send("v1/report", file)).text();
      this.frame.replaceChildren(el("iframe", { title: `Report on ${file.name}`, sandbox: "allow-scripts allow-downloads",
        srcdoc: page }));
      this.recording = null;
      this.say(before);
    });
  }

  async work(message, task) {
    this.busy = true;
    this.say(message);
    this.update();
    try {
      await task();
    } catch (error) {
      this.say(error.message, true);
    }
    this.busy = false;
    this.update();
  }

  async copied() {
    try {
      await navigator.clipboard.writeText(this.words.text);
      this.copy.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(this.words.node);
      this.copy.textContent = "selected: press Ctrl+C";
    }
    setTimeout(() => { this.copy.textContent = "copy text"; }, 2000);
  }
}

function main() {
  const data = JSON.parse(document.getElementById("data").textContent), visitor = new Visitor(data);
  const facts = { model: data.model, "files by": data.method, "microphone by": data.streamMethod, hainan_k2: data.version };
  document.getElementById("page").append(
    el("header", {}, el("h1", {}, "Speak, or drop a file"),
      el("p", { class: "muted" }, `Up to ${plural(Math.round(data.maxSeconds / 60), "minute")}. Nothing that you send is kept.`)),
    visitor.node, visitor.frame,
    el("footer", {}, el("dl", {}, Object.entries(facts).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))))));
}

main();

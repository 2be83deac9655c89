"use strict";

// The words of a recording or a stream, underlined by confidence, one paragraph for each utterance.
class Words {
  constructor() {
    this.node = el("div", { class: "words", "aria-live": "polite" });
    this.clear();
  }

  clear() {
    this.partial = el("span", { class: "partial" });
    this.paragraph = null;
    this.node.replaceChildren();
  }

  // Adds final words { text, start, end, confidence }, and shows `partial`, which may still change, after them.
  add(words, partial = "", endpoint = false) {
    this.paragraph = this.paragraph || this.node.appendChild(el("p", { class: "transcript" }, this.partial));
    for (const { text, start, end, confidence } of words) {
      const title = `${number(start)} to ${number(end)} s, confidence ${number(confidence)}`;
      this.partial.before(el("span", { class: "timed", title, style: { "--confidence": cssPercent(confidence) } }, text), " ");
    }
    this.partial.textContent = partial;
    if (endpoint) {
      this.partial.remove();
      this.paragraph = null;
    }
  }

  get text() {
    return [...this.node.querySelectorAll(".transcript")].map((paragraph) => paragraph.innerText.trim()).join("\n");
  }
}

// The error of a response, as the server words it.
async function refusal(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

// Sends a file and further fields; returns the response. Raises Error with the server's words.
async function send(path, file, fields = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file, file.name);
  const response = await fetch(path, { method: "POST", body: form });
  if (!response.ok) throw new Error(await refusal(response));
  return response;
}

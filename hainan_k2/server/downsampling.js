"use strict";

// Sound from the microphone, at the rate of the device, as 16-bit PCM at 16 kHz. It runs in the browser's audio thread.

const TARGET = 16000; // Hz
const CROSSINGS = 16; // zero crossings of the filter on either side
const PASSED = 0.94; // share of the lower rate's band that passes the filter
const MESSAGE = 1600; // samples of a message: 0.1 s

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}

// Changes the rate by a low-pass filter, a sinc within a Hann window, evaluated at the times of the output samples.
class Downsampler {
  constructor(rate) {
    const common = divisor(rate, TARGET);
    this.up = TARGET / common;
    this.down = rate / common;
    const cutoff = PASSED * Math.min(1, TARGET / rate);
    this.half = Math.ceil(CROSSINGS / cutoff); // input samples on either side of an output sample
    this.filters = new Map();
    this.cutoff = cutoff;
    this.held = new Float32Array(this.half - 1); // input that later output needs
    this.at = this.half - 1; // index in it, or after it, of the input sample at or before the next output sample
    this.phase = 0; // how much later the output sample is, in 1 / up
  }

  // The filter's values at the input samples around an output sample. They add up to 1.
  filter(phase) {
    if (!this.filters.has(phase)) {
      const values = Float32Array.from({ length: 2 * this.half }, (_, i) => {
        const x = i - this.half + 1 - phase / this.up, y = Math.PI * this.cutoff * x;
        const window = Math.abs(x) < this.half ? Math.cos((Math.PI * x) / (2 * this.half)) ** 2 : 0;
        return window * (y ? Math.sin(y) / y : 1);
      });
      const sum = values.reduce((a, b) => a + b);
      this.filters.set(phase, values.map((value) => value / sum));
    }
    return this.filters.get(phase);
  }

  // The output samples that the input so far determines.
  push(block) {
    const input = new Float32Array(this.held.length + block.length);
    input.set(this.held);
    input.set(block, this.held.length);
    const output = [];
    while (this.at + this.half < input.length) {
      const filter = this.filter(this.phase), start = this.at - this.half + 1;
      let sum = 0;
      for (let i = 0; i < filter.length; i += 1) sum += filter[i] * input[start + i];
      output.push(sum);
      this.phase += this.down;
      this.at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    const used = Math.min(this.at - this.half + 1, input.length);
    this.held = input.slice(used);
    this.at -= used;
    return output;
  }

  // The output samples that remain at the end of the input.
  end() {
    return this.push(new Float32Array(this.half));
  }
}

// Posts Int16Arrays, and null after the last one. The message "stop" ends it.
class Downsampling extends AudioWorkletProcessor {
  constructor() {
    super();
    this.downsampler = new Downsampler(sampleRate);
    this.waiting = [];
    this.stopped = false;
    this.port.onmessage = () => this.stop();
  }

  process([channels]) {
    if (this.stopped) return false;
    if (!channels.length) return true;
    const mono = channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
    this.waiting.push(...this.downsampler.push(mono));
    while (this.waiting.length >= MESSAGE) this.post(this.waiting.splice(0, MESSAGE));
    return true;
  }

  stop() {
    if (this.stopped) return;
    this.stopped = true;
    this.post([...this.waiting, ...this.downsampler.end()]);
    this.port.postMessage(null);
  }

  post(samples) {
    const pcm = Int16Array.from(samples, (x) => Math.max(-32768, Math.min(32767, Math.round(32768 * x))));
    this.port.postMessage(pcm, [pcm.buffer]);
  }
}

registerProcessor("downsampling", Downsampling);

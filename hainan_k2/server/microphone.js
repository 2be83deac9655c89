"use strict";

const RATE = 16000; // Hz, of what is sent

// A live stream to the server. Events: update(event), sound(samples), end(), error(message).
class LiveStream {
  constructor(events) {
    Object.assign(this, { events, pcm: [], stopping: false, over: false });
  }

  // Asks for the microphone and begins. Raises Error where there is none, or the visitor does not allow it.
  async start() {
    if (!navigator.mediaDevices) throw new Error("the browser gives the microphone to https pages and to localhost only");
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
    this.media = await navigator.mediaDevices.getUserMedia({ audio });
    try {
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule("downsampling.js");
      await this.connect();
    } catch (error) {
      this.release();
      throw error;
    }
    this.node = new AudioWorkletNode(this.context, "downsampling");
    this.node.port.onmessage = ({ data }) => this.recorded(data);
    this.context.createMediaStreamSource(this.media).connect(this.node).connect(this.context.destination);
  }

  // Opens the WebSocket and waits until the server is ready.
  connect() {
    const address = new URL("v1/audio/stream", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    return new Promise((resolve, reject) => {
      this.socket.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "ready") resolve();
        else if (event.type === "error") reject(new Error(event.message));
        this.received(event);
      };
      this.socket.onclose = () => {
        reject(new Error("the server closed the stream"));
        this.finish("the server closed the stream");
      };
    });
  }

  received(event) {
    if (event.type === "update") this.events.update(event);
    if (event.type === "end") this.finish("");
    if (event.type === "error") this.finish(event.message);
  }

  // Sends samples; null comes after the last ones.
  recorded(samples) {
    if (this.over) return;
    if (samples === null) {
      this.socket.send(JSON.stringify({ type: "end" }));
      return;
    }
    this.pcm.push(samples);
    this.socket.send(samples);
    this.events.sound(samples);
  }

  // Ends the recording. The words that are still missing follow, then the event end.
  stop() {
    this.stopping = true;
    this.node.port.postMessage("stop");
    this.silence();
  }

  silence() {
    for (const track of this.media.getTracks()) track.stop();
  }

  release() {
    this.silence();
    this.context?.close();
    this.socket?.close();
  }

  finish(message) {
    if (this.over) return;
    this.over = true;
    this.release();
    if (message) this.events.error(message);
    else this.events.end();
  }

  get seconds() {
    return this.pcm.reduce((sum, block) => sum + block.length, 0) / RATE;
  }

  // What was recorded, as a WAV file.
  file() {
    const size = this.pcm.reduce((sum, block) => sum + block.byteLength, 0), header = new DataView(new ArrayBuffer(44));
    const text = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF");
    header.setUint32(4, 36 + size, true);
    text(8, "WAVEfmt ");
    header.setUint32(16, 16, true); // bytes of the format
    header.setUint16(20, 1, true); // PCM
    header.setUint16(22, 1, true); // channels
    header.setUint32(24, RATE, true);
    header.setUint32(28, 2 * RATE, true); // bytes per second
    header.setUint16(32, 2, true); // bytes per frame
    header.setUint16(34, 16, true); // bits
    text(36, "data");
    header.setUint32(40, size, true);
    return new File([header, ...this.pcm], "microphone.wav", { type: "audio/wav" });
  }
}

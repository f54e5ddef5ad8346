// The live connection: subscribes, resumes where it was cut, comes back unless told not to.

import { key } from "./net.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;

const final = (code) => (code >= 3500 && code < 4000) || (code >= 4400 && code < 4500);

export class Stream {
  // `on` holds functions: message(type, data), state("wait" | "live" | "off", words), refetch().
  constructor(topics, on) {
    this.topics = topics;
    this.on = on;
    this.wait = FIRST_WAIT;
    this.epoch = null;
    this.sequence = 0;
  }

  open() {
    const address = new URL("/v1/stream", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.socket.onopen = () => this.subscribe();
    this.socket.onmessage = (event) => this.hear(JSON.parse(event.data));
    this.socket.onclose = (event) => this.closed(event);
  }

  subscribe() {
    const said = { type: "subscribe", topics: this.topics };
    if (key()) said.api_key = key();
    if (this.epoch) Object.assign(said, { type: "resume", epoch: this.epoch, sequence: this.sequence });
    this.socket.send(JSON.stringify(said));
  }

  hear(message) {
    if (message.epoch) this.epoch = message.epoch;
    if (message.type !== "error") this.sequence = message.sequence;
    if (message.type === "subscribed" || message.type === "unrecoverable") {
      this.wait = FIRST_WAIT;
      const socket = this.socket;
      const live = () => socket === this.socket && socket.readyState === WebSocket.OPEN && this.on.state("live", "Live");
      // Otherwise nobody tells of what was missed, nor of what came between the page's own question and this.
      if (message.resumed) live();
      else this.on.refetch().finally(live);
    } else if (message.type === "score" || message.type === "alert") {
      this.on.message(message.type, message.data);
    }
  }

  closed(event) {
    if (final(event.code)) {
      this.on.state("off", event.code === 4401 ? "Needs a key" : `Closed: ${event.reason || event.code}`);
      return;
    }
    this.on.state("wait", "Reconnecting…");
    // A random part keeps a thousand pages from coming back at the same instant.
    setTimeout(() => this.open(), this.wait * (0.5 + Math.random()));
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }
}

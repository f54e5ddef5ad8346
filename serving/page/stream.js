// The WebSocket stream: subscribes, resumes after a disconnect, reconnects unless the close code is final.

import { key } from "./net.js";

const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 15000;

const isFinal = (code) => (code >= 3500 && code < 4000) || (code >= 4400 && code < 4500);

export class Stream {
  // `handlers`: message(type, data), state("wait" | "live" | "off", text), refetch().
  constructor(topics, handlers) {
    this.topics = topics;
    this.handlers = handlers;
    this.retryDelay = FIRST_DELAY_MS;
    this.epoch = null;
    this.sequence = 0;
  }

  open() {
    const address = new URL("/v1/stream", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.socket.onopen = () => this.subscribe();
    this.socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    this.socket.onclose = (event) => this.onClose(event);
  }

  subscribe() {
    const message = { type: "subscribe", topics: this.topics };
    if (key()) message.api_key = key();
    if (this.epoch) Object.assign(message, { type: "resume", epoch: this.epoch, sequence: this.sequence });
    this.socket.send(JSON.stringify(message));
  }

  receive(message) {
    if (message.epoch) this.epoch = message.epoch;
    if (message.type !== "error") this.sequence = message.sequence;
    if (message.type === "subscribed" || message.type === "unrecoverable") {
      this.retryDelay = FIRST_DELAY_MS;
      const socket = this.socket;
      const live = () => socket === this.socket && socket.readyState === WebSocket.OPEN && this.handlers.state("live", "Live");
      // Without resumption, alerts since the disconnect, or since the page's own fetch, are not sent again.
      if (message.resumed) live();
      else this.handlers.refetch().finally(live);
    } else if (message.type === "score" || message.type === "alert") {
      this.handlers.message(message.type, message.data);
    }
  }

  onClose(event) {
    if (isFinal(event.code)) {
      this.handlers.state("off", event.code === 4401 ? "Needs a key" : `Closed: ${event.reason || event.code}`);
      return;
    }
    this.handlers.state("wait", "Reconnecting…");
    // Jitter keeps a thousand pages from reconnecting at the same instant.
    setTimeout(() => this.open(), this.retryDelay * (0.5 + Math.random()));
    this.retryDelay = Math.min(2 * this.retryDelay, MAX_DELAY_MS);
  }
}

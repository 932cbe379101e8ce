"use strict";

// Tells the kingdom of events, gauges and counters: JSON lines on the unix stream socket that KING_EVENTS_STREAM names.
// (Node has no unix datagram sockets, so the datagram socket of the protocol is not for it.)
//
// Nothing here ever waits, throws into the app or keeps its process alive. While the servant is away lines wait; what
// finds no room is counted, and the servant is told how much that was.

const net = require("node:net");

const QUEUE = 1000; // lines that wait at most while there is no connection
const BUFFER = 1 << 20; // bytes that a connection may hold back at most
const LINE = 8 * 1024; // bytes of a line: the servant takes no longer one
const FIRST_PAUSE = 100; // milliseconds until the next attempt to connect; doubles up to
const LONGEST_PAUSE = 5000;

class King {
  #path;
  #socket = null;
  #connected = false;
  #queue = [];
  #pause = FIRST_PAUSE;
  #timer = null;
  #lost = 0;
  #told = 0;
  #ended = false;

  /** @param {string | undefined} path The stream socket; without one nothing is done. */
  constructor(path = process.env.KING_EVENTS_STREAM) {
    this.#path = path || null;
  }

  /** Whether anybody can hear. */
  get enabled() {
    return this.#path !== null;
  }

  /** How many lines found no room so far. */
  get lost() {
    return this.#lost;
  }

  /**
   * Something happened.
   * @param {string} name a label of a-z, 0-9 and '-'
   * @param {object} [fields] a JSON object of at most 4 KiB
   */
  event(name, fields) {
    this.#send(fields === undefined ? { event: name } : { event: name, fields });
  }

  /**
   * A gauge is now at this value.
   * @param {string} name
   * @param {number} value
   * @param {Record<string, string>} [tags]
   */
  gauge(name, value, tags) {
    this.#send({ gauge: name, value, tags });
  }

  /**
   * A counter grows.
   * @param {string} name
   * @param {number} [add]
   * @param {Record<string, string>} [tags]
   */
  counter(name, add = 1, tags) {
    this.#send({ counter: name, add, tags });
  }

  /**
   * Waits until all that was told has been handed to the system, but no longer than this.
   * @param {number} [ms]
   * @returns {Promise<boolean>} whether it was
   */
  flush(ms = 1000) {
    if (!this.enabled || this.#ended) return Promise.resolve(!this.enabled);
    return new Promise((resolve) => {
      const end = Date.now() + ms;
      const look = () => {
        const done = this.#queue.length === 0 && this.#connected && this.#socket.writableLength === 0;
        if (done || Date.now() >= end) resolve(done);
        else setTimeout(look, 5);
      };
      if (this.#queue.length > 0) this.#connect();
      else if (this.#socket === null) return resolve(true);
      look();
    });
  }

  /** Ends the connection. What is told from now on goes nowhere. */
  close() {
    this.#ended = true;
    clearTimeout(this.#timer);
    if (this.#socket) this.#socket.end();
  }

  #send(line) {
    if (!this.enabled || this.#ended) return;
    let text;
    try {
      text = JSON.stringify(line);
    } catch {
      this.#lost += 1; // a circle, for instance: that is no reason to break the app
      return;
    }
    if (Buffer.byteLength(text) > LINE) this.#lost += 1;
    else if (this.#connected) this.#write(text);
    else if (this.#queue.length >= QUEUE) this.#lost += 1;
    else {
      this.#queue.push(text);
      this.#connect();
    }
  }

  #write(text) {
    if (this.#socket.writableLength + text.length > BUFFER) {
      this.#lost += 1;
      return;
    }
    if (this.#lost > this.#told) {
      text += `\n{"lost":${this.#lost - this.#told}}`;
      this.#told = this.#lost;
    }
    this.#socket.write(text + "\n");
  }

  #connect() {
    if (this.#socket || this.#timer || this.#ended) return;
    const socket = net.connect({ path: this.#path });
    this.#socket = socket;
    socket.unref();
    socket.on("error", () => {}); // its close follows
    socket.on("connect", () => {
      this.#connected = true;
      this.#pause = FIRST_PAUSE;
      const waiting = this.#queue;
      this.#queue = [];
      for (const text of waiting) this.#write(text);
    });
    socket.on("close", () => {
      this.#socket = null;
      this.#connected = false;
      if (this.#ended) return;
      this.#timer = setTimeout(() => {
        this.#timer = null;
        if (this.#queue.length > 0) this.#connect();
      }, this.#pause);
      this.#timer.unref();
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    });
    socket.resume(); // nothing comes, but the end does
  }
}

const king = new King();

module.exports = { King, king };

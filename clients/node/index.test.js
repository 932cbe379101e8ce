"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { spawnSync } = require("node:child_process");
const { after, test } = require("node:test");
const { King } = require("./index.js");

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "king-client-"));
after(() => fs.rmSync(folder, { recursive: true }));

/** A servant's end of the socket: `lines(count)` resolves with the first so many lines. */
function listen(at) {
  let text = "";
  let wake = () => {};
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      text += chunk;
      wake();
    });
  });
  const all = () => text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return {
    ready: new Promise((resolve) => server.listen(at, resolve)),
    until: (holds) =>
      new Promise((resolve) => {
        wake = () => text.endsWith("\n") && holds(all()) && resolve(all());
        wake();
      }),
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(resolve);
      }),
  };
}

test("what is told comes as lines", async () => {
  const at = path.join(folder, "plain");
  const servant = listen(at);
  await servant.ready;
  const king = new King(at);
  king.event("order-placed", { id: 7 });
  king.event("started");
  king.gauge("queue", 3);
  king.counter("requests", 2, { route: "checkout" });
  king.counter("orders");
  assert.deepStrictEqual(await servant.until((lines) => lines.length === 5), [
    { event: "order-placed", fields: { id: 7 } },
    { event: "started" },
    { gauge: "queue", value: 3 },
    { counter: "requests", add: 2, tags: { route: "checkout" } },
    { counter: "orders", add: 1 },
  ]);
  assert.ok(await king.flush());
  king.close();
  await servant.stop();
});

test("lines wait for a servant that is away, and what finds no room is counted and told", async () => {
  const at = path.join(folder, "away");
  const king = new King(at);
  for (let number = 0; number < 3000; number += 1) king.event("flood", { number });
  king.event("long", { text: "x".repeat(10000) });
  const circle = {};
  circle.circle = circle;
  king.event("circle", circle);
  assert.strictEqual(king.lost, 2002);
  assert.strictEqual(await king.flush(20), false);
  const servant = listen(at);
  await servant.ready;
  const lines = await servant.until((lines) => lines.some((line) => line.lost) && lines.length === 1001);
  assert.strictEqual(lines.filter((line) => line.event === "flood").length, 1000);
  assert.strictEqual(lines.find((line) => line.lost).lost, 2002);
  await servant.stop();

  // A servant that comes back is found again.
  const again = listen(at);
  await again.ready;
  const telling = setInterval(() => king.event("back"), 20);
  await again.until((lines) => lines.some((line) => line.event === "back"));
  clearInterval(telling);
  king.close();
  await again.stop();
});

test("where no servant runs the app nothing is done", async () => {
  const king = new King("");
  king.event("alone");
  assert.ok(!king.enabled && (await king.flush()) && king.lost === 0);
});

test("a process that has nothing else to do ends by itself", () => {
  const script = `const { king } = require(${JSON.stringify(path.join(__dirname, "index.js"))}); king.event("bye");`;
  const env = { ...process.env, KING_EVENTS_STREAM: path.join(folder, "nobody") };
  const ended = spawnSync(process.execPath, ["-e", script], { env, timeout: 20000 });
  assert.strictEqual(ended.status, 0, String(ended.stderr));
});

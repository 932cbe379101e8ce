// A server whose workers share one socket, without dependencies. In king.yaml:
//
//   processes:
//     web:
//       command: [node, workers.js]              # a list: LISTEN_PID names this process, and no shell before it
//       workers: auto                            # or a number, or {min: 2, max: 8, cpu: 70}
//
// With `--cluster 2` each worker is itself a primary of Node's cluster with two processes; they share the same socket.
// Without LISTEN_FDS, for example on a desk, it listens on PORT. On SIGTERM it takes no new connection, answers what it
// has with `Connection: close`, and ends when all are closed: so a restart of the workers loses no request.

'use strict';
const cluster = require('node:cluster');
const http = require('node:http');
const net = require('node:net');

const FIRST_FD = 3; // SD_LISTEN_FDS_START of sd_listen_fds(3)
const QUIET_MS = 1000; // a connection on which nothing came for so long while draining is closed

/** Where to listen: the socket that was handed over under this name, or the first, or PORT. */
function place(name) {
  // In a process of Node's cluster the descriptors are those of its primary, which does the listening.
  const owner = cluster.isWorker ? process.ppid : process.pid;
  const count = process.env.LISTEN_PID === String(owner) ? Number(process.env.LISTEN_FDS ?? 0) : 0;
  if (count === 0) return { port: Number(process.env.PORT ?? 8080), host: '127.0.0.1' };
  const index = name ? (process.env.LISTEN_FDNAMES ?? '').split(':').indexOf(name) : 0;
  if (index < 0 || index >= count) throw new Error(`no socket named ${name} was handed over`);
  return { fd: FIRST_FD + index };
}

/** Ends when every connection is closed; nothing that was accepted goes unanswered. */
function drainOnTerm(server) {
  const open = new Map();
  let draining = false;
  server.on('connection', (socket) => {
    open.set(socket, Date.now());
    socket.on('close', () => open.delete(socket));
  });
  server.prependListener('request', (request, response) => {
    open.set(request.socket, Infinity);
    response.on('close', () => open.has(request.socket) && open.set(request.socket, Date.now()));
    if (draining) response.setHeader('Connection', 'close');
  });
  // Not once: a second signal, such as the primary's beside the one for the whole group, would end it at once.
  process.on('SIGTERM', () => {
    if (draining) return;
    draining = true;
    // Not http.Server's own close: it cuts connections on which a request may be on its way.
    net.Server.prototype.close.call(server, () => process.exit(0));
    setInterval(() => {
      for (const [socket, since] of open) if (Date.now() - since > QUIET_MS) socket.end();
    }, QUIET_MS / 4).unref();
  });
}

function serve() {
  const server = http.createServer((request, response) => response.end(`${process.pid}\n`));
  server.keepAliveTimeout = 60_000;
  drainOnTerm(server);
  server.listen(place('http'));
}

function lead(processes) {
  let draining = false;
  for (let i = 0; i < processes; i += 1) cluster.fork();
  cluster.on('exit', () => {
    if (!draining) cluster.fork();
    else if (Object.keys(cluster.workers).length === 0) process.exit(0);
  });
  // King signals the whole group, a plain supervisor only this process: the workers are told in either case.
  process.on('SIGTERM', () => {
    draining = true;
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
  });
}

const flag = process.argv.indexOf('--cluster');
if (flag > 0 && cluster.isPrimary) {
  // The kernel chooses who accepts; by turns, this process would have to stay to hand connections on.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  lead(Number(process.argv[flag + 1] ?? 2));
} else {
  serve();
}

//! The apps that the tests push: small servers in three languages. Each answers `GET /` with one line that says who
//! answers: `<language> <version> <GREETING>`.

use std::path::Path;

/// A file of a repository: its name and text.
pub type File = (&'static str, &'static str);

const NODE: &str = r#"
const http = require("http");
console.log("node serves on " + process.env.PORT);
http.createServer((request, response) => {
  response.end(`node ${process.env.KING_VERSION} ${process.env.GREETING || "none"}\n`);
}).listen(process.env.PORT, "127.0.0.1");
"#;

const PYTHON: &str = r#"
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "python {} {}\n".format(os.environ["KING_VERSION"], os.environ.get("GREETING", "none")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

print("python serves on", os.environ["PORT"], flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const C: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT"))) };
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) { perror("bind"); return 1; }
  printf("c serves on %s\n", getenv("PORT"));
  fflush(stdout);
  for (;;) {
    char request[4096], answer[512], body[256];
    int client = accept(listener, 0, 0);
    if (client < 0) continue;
    const char *greeting = getenv("GREETING");
    snprintf(body, sizeof body, "c %s %s\n", getenv("KING_VERSION"), greeting ? greeting : "none");
    snprintf(answer, sizeof answer, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    if (read(client, request, sizeof request) > 0 && write(client, answer, strlen(answer)) < 0) perror("write");
    close(client);
  }
}
"#;

const NODE_YAML: &str = r#"processes:
  web:
    command: node server.js
    ports: [http]
    health: {path: /, interval: 1s}
    stop_grace: 2s
    needs: {node: ">= 12"}
"#;

/// The manifest of [`C_APP`].
pub const C_YAML: &str = r#"build: cc -O1 -o server server.c
processes:
  web:
    command: ./server
    ports: [http]
    stop_grace: 2s
"#;

/// A Node server with a `king.yaml`, a health check and a needed tool.
pub const NODE_APP: &[File] = &[("server.js", NODE), ("king.yaml", NODE_YAML)];

/// A Python server with nothing but a Procfile.
pub const PYTHON_APP: &[File] = &[("server.py", PYTHON), ("Procfile", "web: python3 server.py\n")];

/// A C server that is compiled on the servant.
pub const C_APP: &[File] = &[("server.c", C), ("king.yaml", C_YAML)];

/// An app whose build fails and says why.
pub const BROKEN_BUILD: &[File] = &[(
    "king.yaml",
    "build: echo the-flux-is-missing >&2; exit 3\nprocesses:\n  web: {command: sleep 1000, ports: [http]}\n",
)];

/// A process without a port that prints numbered lines on both streams, about 50 each second.
pub const COUNTER_APP: &[File] = &[(
    "king.yaml",
    "processes:\n  counter:\n    command: >-\n      i=0; while :; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.02; done\n    stop_grace: 1s\n",
)];

/// A process without a port that only lives.
pub const IDLE_APP: &[File] =
    &[("king.yaml", "processes:\n  worker:\n    command: [sleep, \"100000\"]\n    stop_grace: 1s\n")];

/// The manifest of an app whose program leaves it: its children are orphans in sessions of their own, one of them with a
/// child. Each process runs `program`, which sleeps as long as its argument says.
pub fn escaping_yaml(program: &Path) -> String {
    let sleep = format!("{} 100000", program.display());
    format!(
        "processes:\n  worker:\n    command: >-\n      (setsid {sleep} &); (setsid sh -c '{sleep} & exec {sleep}' &); exec {sleep}\n    stop_grace: 1s\n"
    )
}

// An HTTP server on node: each request is a transaction of a few statements, named by its path. PORT_FILE: where the
// port is written. HANDLER=close: SIGTERM closes the server, which waits for its clients, and then the pool.
"use strict";
const fs = require("fs");
const http = require("http");
const { Pool } = require("pg");

const journal = fs.openSync(process.env.JOURNAL || "/dev/null", "a");
const say = (kind, text) => fs.writeSync(journal, `${kind} ${text}\n`);
const url = new URL(process.env.DATABASE_URL);
const pool = new Pool({ host: url.hostname, port: Number(url.port), user: url.username,
  password: decodeURIComponent(url.password), database: url.pathname.slice(1), ssl: false, max: 8,
  idleTimeoutMillis: 0 });

async function transaction(name) {
  const client = await pool.connect();
  say("I", name);
  await client.query("BEGIN");
  await client.query("INSERT INTO work(id) VALUES ($1)", [name]);
  await client.query("SELECT sum(hits) FROM tally WHERE n < 10");
  await client.query("COMMIT");
  say("C", name);
  client.release();
}

const server = http.createServer(async (request, response) => {
  try {
    await transaction(request.url.slice(1));
    response.end("done\n");
  } catch (error) {
    say("E", `${request.url.slice(1)} ${error.message}`);
    response.statusCode = 500;
    response.end("failed\n");
  }
});
server.keepAliveTimeout = 60000;
server.listen(0, "127.0.0.1", () => {
  fs.writeFileSync(process.env.PORT_FILE + ".new", String(server.address().port));
  fs.renameSync(process.env.PORT_FILE + ".new", process.env.PORT_FILE);
});
if (process.env.HANDLER === "close") {
  process.on("SIGTERM", () => server.close(() => pool.end()));
}

// An event loop with pg and ioredis: LANES flows over a pg pool, one transaction of SHORTEST_MS to LONGEST_MS after the
// other without a pause between them; with REDIS_URL MULTI, EXEC after each COMMIT. There is no `error` listener
// anywhere: a pooled connection that is closed while it is idle ends the process, as it does in apps that forgot it.
//
// FLOW=2: each transaction does another one, on a second connection, before its end.
// PORT_FILE=path: a transaction for each HTTP request instead; the port is written there. HANDLER=good: SIGTERM closes
// the server (which waits for its clients), then the pool.
"use strict";
const fs = require("fs");
const http = require("http");
const { Pool } = require("pg");
const Redis = require("ioredis");

const number = (name, otherwise) => Number(process.env[name] || otherwise);
const LANES = number("LANES", 8), SHORTEST = number("SHORTEST_MS", 5), LONGEST = number("LONGEST_MS", 50);
const STATEMENTS = number("STATEMENTS", 3), FLOW = number("FLOW", 1);
const journal = fs.openSync(process.env.JOURNAL || "/dev/null", "a");
const say = (kind, text) => fs.writeSync(journal, `${kind} ${text}\n`);
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function settings() {
  const url = new URL(process.env.DATABASE_URL);
  const tls = url.searchParams.get("sslmode") === "require";
  return { host: url.hostname, port: Number(url.port), user: url.username, password: decodeURIComponent(url.password),
    database: url.pathname.slice(1), ssl: tls ? { rejectUnauthorized: false } : false, max: LANES * FLOW,
    idleTimeoutMillis: 0 };
}

const pool = new Pool(settings());
const redis = process.env.REDIS_URL ? new Redis(process.env.REDIS_URL) : null;
let turns = 0;

function confirm(name, began) {
  say("C", `${name}\nT ${name} ${began.toFixed(1)} ${nowMs().toFixed(1)}`);
}

async function otherTransaction(name) {
  const began = nowMs(), client = await pool.connect();
  await client.query("SELECT 1");
  await client.query("INSERT INTO work(id) VALUES ($1)", [name]);
  confirm(name, began);
  client.release();
}

async function transaction(lane, name) {
  const began = nowMs(), gap = (SHORTEST + Math.random() * (LONGEST - SHORTEST)) / STATEMENTS;
  say("I", name);
  const client = await pool.connect();
  await client.query("BEGIN");
  await client.query("INSERT INTO work(id) VALUES ($1)", [name]);
  await pause(gap);
  for (let more = STATEMENTS - 2; more > 0; more--) {
    await client.query("SELECT sum(hits) FROM tally WHERE n < 10");
    await pause(gap);
  }
  if (FLOW === 2) await otherTransaction("b" + name);
  await client.query("UPDATE tally SET hits = hits + 1 WHERE n = $1", [lane]);
  await pause(gap);
  await client.query("COMMIT");
  confirm(name, began);
  client.release();
}

async function turn(lane) {
  const name = `${process.pid}.${lane}.${++turns}`;
  try {
    await transaction(lane, name);
    if (redis) {
      await redis.multi().incr("count").rpush("work", name).exec();
      say("R", name);
    }
  } catch (error) {
    say("E", `${name} ${String(error.message).split("\n")[0]}`);
    throw error;
  }
}

async function loop(lane) {
  for (;;) await turn(lane);
}

function serve(portFile) {
  const server = http.createServer((request, response) => {
    turn(turns % 100).then(() => response.end("done\n"), () => { response.statusCode = 500; response.end(); });
  });
  server.listen(0, "127.0.0.1", () => {
    fs.writeFileSync(portFile + ".new", String(server.address().port));
    fs.renameSync(portFile + ".new", portFile);
  });
  if (process.env.HANDLER === "good") {
    process.on("SIGTERM", () => {
      say("O", "SIGTERM");
      server.close(async () => {
        await pool.end();
        if (redis) redis.disconnect();
        process.exit(0);
      });
    });
  }
}

process.on("uncaughtException", (error) => {
  say("E", `uncaught ${String(error.message).split("\n")[0]}`);
  process.exit(1);
});
process.on("unhandledRejection", (error) => {
  say("E", `unhandled ${String(error && error.message).split("\n")[0]}`);
  process.exit(1);
});
say("O", `ready ${process.pid}`);
if (process.env.PORT_FILE) serve(process.env.PORT_FILE);
else for (let lane = 0; lane < LANES; lane++) loop(lane);

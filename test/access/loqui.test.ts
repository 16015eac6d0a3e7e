import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { formatKeyEntry } from "../../src/config/keys-file.ts";
import { pause } from "../faults/support.ts";
import { startWithScripts, usualScripts, writeScripts } from "../support/running-loqui.ts";

const root = resolve(import.meta.dirname, "../..");
const alice = "loqui_canary-of-alice-0123456789";
const bob = "loqui_canary-of-bob-0123456789";
const carol = "loqui_canary-of-carol-0123456789";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-access-"));
  file = join(folder, "keys.yaml");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

type Entry = Parameters<typeof formatKeyEntry>[0];

/** An entry with the scopes of most keys. */
function entry(id: string, plain: string, more: Partial<Entry> = {}): string {
  return formatKeyEntry({ id, scopes: ["inference", "models:read"], ...more }, plain);
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

async function chat(url: string, key: string, more: object = {}): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body: JSON.stringify({
      model: "hello",
      messages: [{ role: "user", content: "the same words again ".repeat(9) }],
      ...more,
    }),
  });
}

async function usage(url: string, key: string): Promise<Usage> {
  const response = await chat(url, key);
  expect(response.status).toBe(200);
  return ((await response.json()) as { usage: Usage }).usage;
}

async function statusOf(url: string, key: string): Promise<number> {
  return (await fetch(`${url}/v1/models`, { headers: { "x-api-key": key } })).status;
}

/** What is left of alice's tokens of this minute. */
async function remaining(url: string): Promise<number> {
  const listed = await fetch(`${url}/v1/models`, { headers: { "x-api-key": alice } });
  return Number(listed.headers.get("x-ratelimit-remaining-tokens"));
}

describe("tenants", () => {
  it("don't share cached prefixes; the keys of one do", async () => {
    writeFileSync(
      file,
      entry("alice", alice) + entry("bob", bob, { tenant: "acme" }) + entry("carol", carol, { tenant: "acme" }),
    );
    await using running = await startWithScripts(usualScripts, { LOQUI_API_KEYS_FILE: file });
    const cached = async (key: string) => (await usage(running.url, key)).prompt_tokens_details.cached_tokens;
    expect(await cached(alice)).toBe(0);
    expect(await cached(alice)).toBeGreaterThan(100);
    expect(await cached(bob)).toBe(0);
    expect(await cached(carol)).toBeGreaterThan(100);
    expect(await cached(alice)).toBeGreaterThan(100);
  });
});

describe("tokens a minute", () => {
  it("prompt and completion are charged when the call has ended; the next one is refused", async () => {
    writeFileSync(file, entry("alice", alice, { tokens_per_minute: 300 }) + entry("bob", bob));
    await using running = await startWithScripts(usualScripts, { LOQUI_API_KEYS_FILE: file });
    const first = await chat(running.url, alice);
    expect(first.headers.get("x-ratelimit-limit-tokens")).toBe("300");
    expect(first.headers.get("x-ratelimit-remaining-tokens")).toBe("300");
    const used = ((await first.json()) as { usage: Usage }).usage;
    const second = await chat(running.url, alice);
    expect(second.status).toBe(200);
    const left = 300 - used.prompt_tokens - used.completion_tokens;
    expect(second.headers.get("x-ratelimit-remaining-tokens")).toBe(String(left));
    await second.text();
    const third = await chat(running.url, alice);
    expect(third.status).toBe(429);
    expect(await third.json()).toMatchObject({
      error: { type: "rate_limit_error", code: "rate_limit_exceeded", message: /^the limit of 300 tokens a minute/ },
    });
    expect(Number(third.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(third.headers.get("x-ratelimit-remaining-tokens")).toBe("0");
    expect((await chat(running.url, bob)).status).toBe(200);
  });

  it("a stream that is left is charged for its prompt and for what it sent", async () => {
    writeFileSync(file, entry("alice", alice, { tokens_per_minute: 1_000_000 }));
    await using running = await startWithScripts(usualScripts, { LOQUI_API_KEYS_FILE: file });
    const content = "word ".repeat(100);
    const response = await chat(running.url, alice, {
      model: "endless",
      stream: true,
      messages: [{ role: "user", content }],
    });
    const reader = response.body?.getReader();
    for (let index = 0; index < 5; index++) await reader?.read();
    await reader?.cancel();
    // A byte is a token of these models' prompts.
    await expect.poll(() => remaining(running.url)).toBeLessThanOrEqual(1_000_000 - content.length - 4);
  });

  it.each([true, false])("a call that is left is charged for what it generated: stream %s", async (stream) => {
    writeFileSync(file, entry("alice", alice, { tokens_per_minute: 1_000_000 }));
    await using running = await startWithScripts(usualScripts, { LOQUI_API_KEYS_FILE: file });
    const leave = new AbortController();
    const asked = fetch(`${running.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${alice}` },
      body: JSON.stringify({ model: "endless", stream, messages: [{ role: "user", content: "Hi" }] }),
      signal: leave.signal,
    });
    const answer = asked.then((response) => response.text()).catch(() => "left");
    await pause(2_500);
    leave.abort();
    await answer;
    // A stream's chunks of that time are some thirty.
    await expect.poll(() => remaining(running.url)).toBeLessThanOrEqual(1_000_000 - 200);
  });
});

describe("the public list of models", () => {
  it("needs no key, but everything else does", async () => {
    await using running = await startWithScripts(usualScripts, { LOQUI_API_KEYS: alice, LOQUI_PUBLIC_MODELS: "1" });
    expect((await fetch(`${running.url}/v1/models`)).status).toBe(200);
    expect((await fetch(`${running.url}/v1/models/hello`)).status).toBe(200);
    expect((await fetch(`${running.url}/v1/models/hello:unload`, { method: "POST" })).status).toBe(401);
    expect((await fetch(`${running.url}/metrics`)).status).toBe(401);
    expect((await fetch(`${running.url}/metrics`, { headers: { "x-api-key": alice } })).status).toBe(200);
  });

  it("LOQUI_METRICS=open shows /metrics without a key", async () => {
    await using running = await startWithScripts(usualScripts, { LOQUI_API_KEYS: alice, LOQUI_METRICS: "open" });
    expect((await fetch(`${running.url}/metrics`)).status).toBe(200);
    expect((await fetch(`${running.url}/v1/models`)).status).toBe(401);
  });
});

/** `loqui serve` in a process of its own, with all that it says. */
interface Served {
  readonly child: ChildProcess;
  readonly url: string;
  output: string;
}

const children = new Set<ChildProcess>();
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children.clear();
});

async function serve(environment: Record<string, string>): Promise<Served> {
  const child = spawn(process.execPath, ["src/cli/main.ts", "serve", "--port", "0"], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LOQUI_LOG_LEVEL: "trace", LOQUI_DRAIN_SECONDS: "1", ...environment },
  });
  children.add(child);
  const served = { child, url: "", output: "" };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (served.output += data));
  await expect
    .poll(() => /^loqui listens on (http:\S+)/m.exec(served.output)?.[1], { timeout: 20_000 })
    .toBeTypeOf("string");
  return Object.assign(served, { url: /^loqui listens on (http:\S+)/m.exec(served.output)?.[1] ?? "" });
}

const slowly = { timeout: 10_000 };

describe("the keys file", () => {
  it("is read again when it is written, replaced behind a link, or at SIGHUP; a bad one keeps the old keys", async () => {
    const target = join(folder, "first.yaml");
    writeFileSync(target, entry("alice", alice));
    symlinkSync(target, file);
    const served = await serve({ LOQUI_API_KEYS_FILE: file, MODELS: "" });
    const status = (key: string) => statusOf(served.url, key);
    expect([await status(alice), await status(bob)]).toEqual([200, 401]);

    writeFileSync(target, entry("alice", alice) + entry("bob", bob));
    await expect.poll(() => status(bob), slowly).toBe(200);
    expect(await status(alice)).toBe(200);

    const second = join(folder, "second.yaml");
    writeFileSync(second, entry("carol", carol));
    symlinkSync(second, join(folder, "link"));
    renameSync(join(folder, "link"), file);
    await expect.poll(() => status(carol), slowly).toBe(200);
    expect([await status(alice), await status(bob)]).toEqual([401, 401]);

    writeFileSync(second, `${entry("alice", alice)}- {id: bob, hash: "${bob}", scopes: [inference]}\n`);
    served.child.kill("SIGHUP");
    await expect.poll(() => served.output, slowly).toContain("the keys file is refused");
    expect(served.output).toContain("[1].hash: is not sha256: and 64 hexadecimal digits");
    expect([await status(carol), await status(alice)]).toEqual([200, 401]);

    unlinkSync(second);
    await expect.poll(() => served.output, slowly).toContain("can't be read: ENOENT");
    expect(await status(carol)).toBe(200);

    writeFileSync(second, "[]");
    served.child.kill("SIGHUP");
    await expect.poll(() => status(carol), slowly).toBe(401);
    expect((await fetch(`${served.url}/livez`)).status).toBe(200);

    for (const key of [alice, bob, carol]) expect(served.output).not.toContain(key);
    expect(served.output).not.toContain(folder);
  });
});

describe("keys stand in no log", () => {
  it("at level trace, whatever is done with them", async () => {
    const [model = ""] = writeScripts(folder, { hello: usualScripts.hello });
    writeFileSync(file, entry("bob", bob, { scopes: ["models:read"], requests_per_minute: 4 }));
    const served = await serve({ LOQUI_API_KEYS: alice, LOQUI_API_KEYS_FILE: file, MODELS: model });
    const wrong = "loqui_canary-of-nobody-0123456789";
    const { url } = served;
    expect((await chat(url, alice)).status).toBe(200);
    expect((await chat(url, bob)).status).toBe(403);
    expect((await chat(url, wrong)).status).toBe(401);
    expect((await fetch(`${url}/v1/models/hello?key=${wrong}`, { headers: { "x-api-key": wrong } })).status).toBe(401);
    expect((await fetch(`${url}/nowhere`, { headers: { authorization: `Basic ${wrong}` } })).status).toBe(401);
    const rpc = await fetch(`${url}/loqui.v1.ModelService/ListModels`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${wrong}` },
      body: "{}",
    });
    expect(rpc.status).toBe(401);
    const statuses = [];
    for (let index = 0; index < 6; index++) statuses.push(await statusOf(url, bob));
    expect(statuses.at(-1)).toBe(429);
    // What the server starts gets none of the keys.
    const worker = Number(/"pid":(\d+)/.exec(served.output)?.[1]);
    expect(readFileSync(`/proc/${worker}/environ`, "utf8")).not.toContain("canary");
    served.child.kill("SIGTERM");
    await once(served.child, "close");
    expect(served.output).toMatch(/"keyId":"env:1"/);
    expect(served.output).toMatch(/"kind":"rate_limited"/);
    expect(served.output).not.toContain("canary");
  });
});

describe("listening beyond loopback", () => {
  const address = Object.values(networkInterfaces())
    .flat()
    .find((each) => each !== undefined && each.family === "IPv4" && !each.internal)?.address;

  it("works with a key; every address may be asked for, no other name", async () => {
    const served = await serve({
      HOST: "0.0.0.0",
      LOQUI_API_KEYS: alice,
      LOQUI_ALLOWED_HOSTS: "models.example",
      MODELS: "",
    });
    const { port } = new URL(served.url);
    const local = `http://127.0.0.1:${port}`;
    expect(await statusOf(local, alice)).toBe(200);
    expect(await statusOf(local, "loqui_wrong")).toBe(401);
    if (address !== undefined) expect(await statusOf(`http://${address}:${port}`, alice)).toBe(200);
  });

  it("without a key the server does not start, and says what to do", async () => {
    const child = spawn(process.execPath, ["src/cli/main.ts", "serve", "--host", "0.0.0.0", "--port", "0"], {
      cwd: root,
    });
    children.add(child);
    let stderr = "";
    child.stderr.on("data", (data) => (stderr += data));
    const [code] = await once(child, "close");
    expect(code).toBe(1);
    expect(stderr).toBe(
      "loqui: HOST: 0.0.0.0 is not a loopback address, and without an API key every machine that reaches it could use this server; " +
        "make a key with `loqui key` and name its file in LOQUI_API_KEYS_FILE, or listen on 127.0.0.1\n",
    );
  });
});

describe("loqui key", () => {
  async function make(...args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
    const child = spawn(process.execPath, ["src/cli/main.ts", "key", ...args], { cwd: root });
    children.add(child);
    const said = { code: undefined, stdout: "", stderr: "" };
    child.stdout.on("data", (data) => (said.stdout += data));
    child.stderr.on("data", (data) => (said.stderr += data));
    const [code] = await once(child, "close");
    return { ...said, code };
  }

  it("makes a key that a server with its entry accepts", async () => {
    const made = await make("laptop", "--scopes", "models:read", "--tenant", "acme", "--requests-per-minute", "100");
    expect(made.code).toBe(0);
    expect(parse(made.stdout)).toEqual([
      {
        id: "laptop",
        hash: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
        scopes: ["models:read"],
        tenant: "acme",
        requests_per_minute: 100,
      },
    ]);
    const [key = ""] = made.stderr.split("\n");
    expect(key).toMatch(/^loqui_[A-Za-z0-9_-]{43}$/);
    expect(made.stdout).not.toContain(key);
    writeFileSync(file, made.stdout);
    await using running = await startWithScripts({}, { LOQUI_API_KEYS_FILE: file });
    expect(await statusOf(running.url, key)).toBe(200);
    expect((await chat(running.url, key)).status).toBe(403);
  });

  it.each([
    [["a b"], "id: may hold letters, digits and . _ @ - and begins with a letter or digit"],
    [["a", "--scopes", "everything"], 'scopes[0]: Invalid option: expected one of "inference"'],
    [["a", "--tokens-per-minute", "0"], "tokens_per_minute: "],
    [["a", "--tokens-per-minute", "x"], "It is not a number."],
    [[], "missing required argument 'id'"],
  ])("%j is a clear error, and makes none", async (args, message) => {
    const { code, stdout, stderr } = await make(...args);
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("loqui_");
  });
});

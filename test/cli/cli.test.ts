import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Certificate, createAuthority } from "../support/certificates.ts";
import { helloPieces, helloReply, type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";
import { writeScriptedModel } from "../support/scripted-model.ts";

const root = resolve(import.meta.dirname, "../..");
let folder: string;
let hello: string;
let endless: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-cli-"));
  hello = join(folder, "hello.gguf");
  writeScriptedModel(hello, { reply: helloPieces });
  endless = join(folder, "endless.gguf");
  writeScriptedModel(endless, { reply: ["on ", "and ", "off "], loop: true });
});
afterAll(() => rmSync(folder, { recursive: true }));

const children = new Set<ChildProcess>();
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children.clear();
});

interface Run {
  readonly child: ChildProcess;
  stdout: string;
  stderr: string;
  readonly ended: Promise<number | null>;
}

function start(...args: string[]): Run {
  const child = spawn(process.execPath, ["src/cli/main.ts", ...args], { cwd: root, stdio: ["pipe", "pipe", "pipe"] });
  children.add(child);
  const run: Run = {
    child,
    stdout: "",
    stderr: "",
    ended: once(child, "close").then(([code]) => code as number | null),
  };
  child.stdout.on("data", (data) => (run.stdout += data));
  child.stderr.on("data", (data) => (run.stderr += data));
  return run;
}

async function finish(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const run = start(...args);
  run.child.stdin?.end();
  const code = await run.ended;
  return { code, stdout: run.stdout, stderr: run.stderr };
}

async function urlOf(run: Run): Promise<string> {
  for (;;) {
    const url = /^loqui listens on (http:\S+)/m.exec(run.stdout)?.[1];
    if (url !== undefined) return url;
    if (run.child.exitCode !== null) throw new Error(run.stderr);
    await new Promise((done) => setTimeout(done, 20));
  }
}

async function ready(url: string): Promise<void> {
  while (!(await fetch(`${url}/readyz`)).ok) await new Promise((done) => setTimeout(done, 20));
}

describe("loqui", () => {
  it("--help lists the commands, and serve --help every setting", async () => {
    const all = await finish("--help");
    expect(all.code).toBe(0);
    expect(all.stdout).toMatch(/serve .*start the server/);
    expect(all.stdout).toMatch(/run .*<model> <prompt>/);
    const serve = await finish("serve", "--help");
    for (const name of ["HOST", "PORT", "MODELS", "LOQUI_LOG_LEVEL", "LOQUI_CORS_ORIGINS"]) {
      expect(serve.stdout).toContain(`[${name}]`);
    }
  });

  it.each([
    [["serve", "--prot", "1"], "error: unknown option '--prot'"],
    [["sevre"], "error: unknown command 'sevre'"],
    [["serve", "--port", "seventy"], "loqui: PORT: seventy is not a port from 0 to 65535"],
    [["serve", "--host", "0.0.0.0"], "loqui: HOST: 0.0.0.0 is not a loopback address"],
    [["serve", "--models", "missing.gguf"], "loqui: MODELS: missing.gguf: no such file"],
    [["serve", "--config", "nowhere.yaml"], "loqui: LOQUI_CONFIG: nowhere.yaml: no such file"],
    [["run", "loqui/tiny-chat"], "error: missing required argument 'prompt'"],
    [["run", "loqui/tiny-chat", "Hi", "--max-tokens", "many"], "It is not a number."],
    [["run", "loqui/tiny-chat", "Hi", "--max-tokens", "-1"], "It is not a whole number from 0 to 2147483647."],
    [["run", "loqui/tiny-chat", "Hi", "--seed", "1.5"], "It is not a whole number."],
  ])("%j is a clear error", async (args, message) => {
    const { code, stderr } = await finish(...args);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it("says which port is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const { code, stderr } = await finish("serve", "--port", String(port), "--models", hello, "--log-level", "silent");
    other.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^loqui: .*${port}.*\\n$`));
  });
});

describe("loqui serve", () => {
  it("finishes what is in flight at SIGTERM, then ends with 0 and leaves no worker", async () => {
    const run = start("serve", "--port", "0", "--models", endless, "--log-level", "info", "--drain-seconds", "20");
    const url = await urlOf(run);
    await ready(url);
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: "endless",
        stream: true,
        max_tokens: 600,
        messages: [{ role: "user", content: "Hi" }],
      }),
    });
    run.child.kill("SIGTERM");
    expect(await response.text()).toMatch(/data: \[DONE\]\n\n$/);
    expect(await run.ended).toBe(0);
    const pid = Number(/"pid":(\d+)/.exec(run.stderr)?.[1]);
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });

  it("ends at once at a second signal", async () => {
    const run = start("serve", "--port", "0", "--models", endless, "--log-level", "silent", "--drain-seconds", "600");
    const url = await urlOf(run);
    await ready(url);
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: "endless",
        stream: true,
        max_tokens: 3000,
        messages: [{ role: "user", content: "Hi" }],
      }),
    });
    run.child.kill("SIGTERM");
    setTimeout(() => run.child.kill("SIGTERM"), 100);
    const text = await response.text();
    expect(text).toContain('"code":"shutting_down"');
    expect(text).not.toContain("[DONE]");
    expect(await run.ended).toBe(0);
  });
});

describe("loqui run", () => {
  it("streams the answer of a model that no server has", async () => {
    expect(await finish("run", hello, "Hi", "--port", "1")).toMatchObject({ code: 0, stdout: `${helloReply}\n` });
  });

  it("reads the prompt from standard input", async () => {
    const run = start("run", hello, "-", "--port", "1", "--max-tokens", "2");
    run.child.stdin?.end("Hi");
    expect(await run.ended).toBe(0);
    expect(run.stdout).toBe("Hello, \n");
  });

  it("uses the server that answers", async () => {
    await using running = await startWithScripts({ distant: { reply: ["from ", "afar"] } });
    const answer = await finish("run", "distant", "Hi", "--port", new URL(running.url).port);
    expect(answer).toMatchObject({ code: 0, stdout: "from afar\n" });
  });

  it("says what is wrong with a request", async () => {
    const { code, stderr } = await finish("run", hello, "Hi", "--port", "1", "--temperature", "7");
    expect(code).toBe(1);
    expect(stderr).toBe("loqui: temperature: 7 must be greater than or equal to 0 and less than or equal to 2\n");
  });

  it("says that a model is unknown", async () => {
    const { code, stderr } = await finish("run", "nobody/nothing", "Hi", "--port", "1");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^loqui: nobody\/nothing is neither a known model/);
  });

  it("hands on what a running server says of a mistyped name", async () => {
    await using running = await startWithScripts({ distant: { reply: ["from ", "afar"] } });
    const { code, stderr } = await finish("run", "distnat", "Hi", "--port", new URL(running.url).port);
    expect(code).toBe(1);
    expect(stderr).toBe("loqui: the model `distnat` does not exist; did you mean distant?\n");
  });

  describe("with a server that guards itself", () => {
    const key = "sk-cli-0123456789abcdef";
    const authority = createAuthority();
    let guarded: RunningLoqui;
    let files: string[];
    /** The settings' flags, for a certificate that is issued by nobody the machine knows, and for another name. */
    const tls = (name: string, certificate: Certificate, more: readonly string[] = []) => {
      const [cert = "", keyFile = ""] = ["cert", "key"].map((kind) => join(folder, `${name}-${kind}.pem`));
      writeFileSync(cert, certificate.cert);
      writeFileSync(keyFile, certificate.key);
      return ["--tls-cert", cert, "--tls-key", keyFile, ...more];
    };
    beforeAll(async () => {
      files = tls("server", authority.issue("loqui.example"));
      guarded = await startWithScripts(
        { distant: { reply: ["from ", "afar"] } },
        { LOQUI_API_KEYS: key, LOQUI_TLS_CERT: files[1] ?? "", LOQUI_TLS_KEY: files[3] ?? "" },
      );
    });
    afterAll(() => guarded[Symbol.asyncDispose]());
    afterEach(() => {
      delete process.env.LOQUI_API_KEYS;
    });
    const ask = (flags: readonly string[], apiKey?: string) => {
      if (apiKey !== undefined) process.env.LOQUI_API_KEYS = apiKey;
      return finish("run", "distant", "Hi", "--port", new URL(guarded.url).port, ...flags);
    };

    it("uses it with the key and the certificate of its own settings", async () => {
      expect(await ask(files, key)).toMatchObject({ code: 0, stdout: "from afar\n" });
    });

    it.each([
      ["no key", undefined],
      ["another key", "sk-other-0123456789abcdef"],
    ])("%s: says which setting is missing", async (_, other) => {
      const { code, stderr } = await ask(files, other);
      expect(code).toBe(1);
      expect(stderr).toBe(
        `loqui: the server at ${guarded.url} asks for an API key: set LOQUI_API_KEYS to one that it knows\n`,
      );
    });

    it("takes no other certificate, were it of the same CA", async () => {
      const { code, stderr } = await ask(tls("other", authority.issue("loqui.example")), key);
      expect(code).toBe(1);
      expect(stderr).toMatch(new RegExp(`^loqui: the server at ${guarded.url} can't be trusted: .+\n$`));
    });

    it("says that it has no certificate of a client's", async () => {
      const ca = join(folder, "ca.pem");
      writeFileSync(ca, authority.cert);
      const [, cert = "", , keyFile = ""] = files;
      await using mutual = await startWithScripts(
        { distant: { reply: ["x"] } },
        { LOQUI_TLS_CERT: cert, LOQUI_TLS_KEY: keyFile, LOQUI_TLS_CLIENT_CA: ca },
      );
      const flags = [...files, "--tls-client-ca", ca, "--port", new URL(mutual.url).port];
      const { code, stderr } = await finish("run", "distant", "Hi", ...flags);
      expect(code).toBe(1);
      expect(stderr).toBe(
        `loqui: the server at ${mutual.url} can't be trusted: it asks for a client's certificate, and \`loqui run\` has none\n`,
      );
    });

    it("names a certificate that can't be read", async () => {
      const broken = tls("broken", { cert: "no PEM", key: "no PEM" });
      const { code, stderr } = await ask(broken, key);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^loqui: LOQUI_TLS_CERT: .*broken-cert\.pem: .+\n$/);
    });
  });

  it("ends quietly when its reader has read enough", async () => {
    const run = start("run", endless, "Hi", "--port", "1", "--max-tokens", "3000");
    run.child.stdout?.once("data", () => run.child.stdout?.destroy());
    expect(await run.ended).toBe(0);
    expect(run.stderr).toBe("");
  });
});

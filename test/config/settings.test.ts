import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigError } from "../../src/config/config-error.ts";
import { readSettings } from "../../src/config/settings.ts";
import { str, writeGguf } from "../support/gguf.ts";

const entry = (id: string, more = "") =>
  `  - {id: ${id}, type: chat, engine: llama.cpp, source: {path: weights/${id.split("/").at(-1)}.gguf}${more}}\n`;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "loqui-settings-"));
  writeFileSync(join(root, "models.yaml"), `models:\n${entry("acme/one", ", preload: true")}${entry("acme/two")}`);
});
afterEach(() => rmSync(root, { recursive: true }));

describe("settings", () => {
  it("has defaults for everything", () => {
    const settings = readSettings({}, {}, root);
    expect(settings).toMatchObject({
      host: "127.0.0.1",
      port: 8000,
      strict: false,
      loadOnDemand: true,
      logLevel: "info",
      corsOrigins: [],
      metrics: "open",
      drainMs: 30_000,
      requestTimeoutMs: 600_000,
      stallMs: 60_000,
      portLimits: {
        maxConnections: 10_000,
        maxRequestBytes: 64 << 20,
        bodyTimeoutMs: 120_000,
        idleTimeoutMs: undefined,
      },
    });
    expect(settings.models.map((model) => [model.id, model.preload, model.parameters.sequences])).toEqual([
      ["acme/one", true, 4],
      ["acme/two", false, 4],
    ]);
  });

  it("lets a flag win over the environment", () => {
    const settings = readSettings({ PORT: "9000", LOQUI_STRICT: "1" }, { PORT: "9001" }, root);
    expect([settings.port, settings.strict]).toEqual([9001, true]);
  });

  it("starts a model's path at the folder of its file", () => {
    expect(readSettings({}, {}, root).models[0]?.source.path).toBe(join(root, "weights/one.gguf"));
  });

  it("lets models.local.yaml replace an entry and add one", () => {
    writeFileSync(
      join(root, "models.local.yaml"),
      `models:\n${entry("acme/one", ", parameters: {sequences: 9}")}${entry("acme/three", ", aliases: [gpt-4o]")}`,
    );
    const models = readSettings({}, {}, root).models;
    expect(models.map((model) => [model.id, model.parameters.sequences])).toEqual([
      ["acme/one", 9],
      ["acme/two", 4],
      ["acme/three", 4],
    ]);
  });

  it("takes ids and paths of files from MODELS", () => {
    const file = join(root, "My-Model.Q8_0.gguf");
    writeGguf(file, { "general.architecture": str("llama") }, []);
    const models = readSettings({ MODELS: `acme/two, ${file}` }, {}, root).models;
    expect(models.map((model) => [model.id, model.preload])).toEqual([
      ["acme/one", false],
      ["acme/two", true],
      ["My-Model.Q8_0", true],
    ]);
  });

  it("accepts the aliases of capabilities and engines", () => {
    writeFileSync(
      join(root, "models.local.yaml"),
      "models:\n  - {id: a, type: chat, engine: llamacpp, capabilities: [text_generation], source: {path: a.gguf}}\n",
    );
    expect(readSettings({}, {}, root).models[2]).toMatchObject({
      engine: "llama.cpp",
      capabilities: ["chat-completion"],
    });
  });

  it("listens beyond loopback when keys are asked for, and keeps their hashes only", () => {
    const plain = "a-key-that-is-long-enough";
    const settings = readSettings({ HOST: "0.0.0.0", LOQUI_API_KEYS: `${plain}, another-key-just-as-long` }, {}, root);
    expect(settings.host).toBe("0.0.0.0");
    expect(settings.apiKeys?.fixed.map((key) => [key.id, key.tenant, [...key.scopes].length])).toEqual([
      ["env:1", "", 5],
      ["env:2", "", 5],
    ]);
    expect(JSON.stringify(settings)).not.toContain(plain);
  });

  it.each([
    [{ HOST: "0.0.0.0" }, /^HOST: 0\.0\.0\.0 is not a loopback address, .* make a key with `loqui key` /],
    [{ HOST: "" }, /^HOST: /],
    [{ LOQUI_API_KEYS: "" }, /^LOQUI_API_KEYS: is empty; leave it out/],
    [{ LOQUI_API_KEYS: "a-key-that-is-long-enough,short" }, /^LOQUI_API_KEYS\[1\]: a key has 16 to 512 visible/],
    [{ LOQUI_API_KEYS_FILE: "nowhere.yaml" }, /^nowhere\.yaml: can't be read: ENOENT$/],
    [{ LOQUI_ALLOWED_HOSTS: "http://a.example" }, /^LOQUI_ALLOWED_HOSTS\[0\]: http:\/\/a\.example is not a host name/],
    [{ LOQUI_PUBLIC_MODELS: "chat" }, /^LOQUI_PUBLIC_MODELS: chat is neither/],
    [{ LOQUI_METRICS: "key" }, /^LOQUI_METRICS: key needs API keys/],
    [{ LOQUI_REQUESTS_PER_MINUTE: "0" }, /^LOQUI_REQUESTS_PER_MINUTE: 0 is not a whole number from 1 to/],
    [{ LOQUI_TOKENS_PER_MINUTE: "1.5" }, /^LOQUI_TOKENS_PER_MINUTE: 1\.5 is not a whole number$/],
    [{ PORT: "70000" }, /^PORT: 70000 is not a port from 0 to 65535$/],
    [{ PORT: "seventy" }, /^PORT: seventy is not a port from 0 to 65535$/],
    [{ LOQUI_API_KEY: "secret" }, /^LOQUI_API_KEY is not a setting; there are HOST, PORT, /],
    [{ LOQUI_LOG_LEVEL: "loud" }, /^LOQUI_LOG_LEVEL: .*"info"/],
    [{ LOQUI_STRICT: "maybe" }, /^LOQUI_STRICT: maybe is neither 1, true, yes, on nor 0, false, no, off$/],
    [{ LOQUI_CORS_ORIGINS: "https://a.example,b.example" }, /b\.example is not an origin/],
    [{ LOQUI_MAX_CONNECTIONS: "0" }, /^LOQUI_MAX_CONNECTIONS: 0 is not a whole number from 1 to 1000000$/],
    [{ LOQUI_MAX_STREAMS: "1.5" }, /^LOQUI_MAX_STREAMS: 1\.5 is not a whole number$/],
    [{ LOQUI_BODY_SECONDS: "0" }, /^LOQUI_BODY_SECONDS: 0 is not a number of seconds from 1 to 86400$/],
    [{ LOQUI_TLS_CERT: "a.pem" }, /^LOQUI_TLS_CERT needs LOQUI_TLS_KEY/],
    [{ LOQUI_TLS_KEY: "a.pem" }, /^LOQUI_TLS_KEY needs LOQUI_TLS_CERT/],
    [{ LOQUI_TLS_CLIENT_CA: "a.pem" }, /^LOQUI_TLS_CLIENT_CA needs LOQUI_TLS_CERT and LOQUI_TLS_KEY/],
    [{ MODELS: "acme/nine" }, /^MODELS: acme\/nine is neither a known model \(acme\/one, acme\/two\) nor the path/],
    [{ MODELS: "missing.gguf" }, /^MODELS: missing\.gguf: no such file$/],
    [{ LOQUI_CONFIG: "nowhere.yaml" }, /^LOQUI_CONFIG: nowhere\.yaml: no such file$/],
  ])("refuses %o", (environment, message) => {
    expect(() => readSettings(environment, {}, root)).toThrow(ConfigError);
    expect(() => readSettings(environment, {}, root)).toThrow(message);
  });

  it.each([
    ["models: [", /models\.local\.yaml: /],
    ["models:\n  - {id: a, type: chat, engine: llama.cpp}\n", /models\[0\]\.source: /],
    ["models:\n  - {id: a, type: chat, engine: warp, source: {path: a}}\n", /models\[0\]\.engine: .*"llama\.cpp"/],
    ["models:\n  - {id: a, type: chat, engine: llama.cpp, source: {path: a}, colour: red}\n", /models\[0\]: .*colour/],
    [
      "models:\n  - {id: ../a, type: chat, engine: llama.cpp, source: {path: a}}\n",
      /models\[0\]\.id: may hold letters/,
    ],
    [
      "models:\n  - {id: a, type: embedding, engine: onnxruntime, source: {path: a, file: ../b.onnx}}\n",
      /models\[0\]\.source\.file: is the name of an \.onnx file inside the folder/,
    ],
    [
      "models:\n  - {id: a, type: rerank, engine: llama.cpp, source: {path: a, file: b.onnx}}\n",
      /models\[0\]\.source\.file: is for models of type embedding or rerank with the engine onnxruntime/,
    ],
    [
      `models:\n${entry("a", ", parameters: {quantization: int8}")}`,
      /models\[0\]\.parameters\.quantization: is for models with the engine onnxruntime/,
    ],
    [
      "models:\n  - {id: a, type: rerank, engine: onnxruntime, source: {path: a}, parameters: {quantization: int4}}\n",
      /models\[0\]\.parameters\.quantization: /,
    ],
    [`models:\n${entry("a")}${entry("a")}`, /the id a stands twice/],
    [`models:\n${entry("a", ", aliases: [acme/one]")}`, /acme\/one names both acme\/one and a/],
  ])("refuses the models file %j", (text, message) => {
    writeFileSync(join(root, "models.local.yaml"), text);
    expect(() => readSettings({}, {}, root)).toThrow(ConfigError);
    expect(() => readSettings({}, {}, root)).toThrow(message);
  });
});

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { type ApiKey, hashKey } from "../access/keys.ts";
import { allScopes } from "../access/scopes.ts";
import { ConfigError, describeIssue } from "./config-error.ts";
import { readKeysFile } from "./keys-file.ts";
import { isModelPath, modelOfPath } from "./model-of-path.ts";
import { type ModelConfig, readModelsFile } from "./models-file.ts";

const flag = z
  .union([z.boolean(), z.enum(["1", "true", "yes", "on", "0", "false", "no", "off", ""])], {
    error: (issue) => `${String(issue.input)} is neither 1, true, yes, on nor 0, false, no, off`,
  })
  .transform((value) => value === true || value === "1" || value === "true" || value === "yes" || value === "on");

const list = z
  .string()
  .transform((value) => value.split(",").map((item) => item.trim()))
  .pipe(z.array(z.string()))
  .transform((items) => items.filter((item) => item !== ""));

/** A number between two bounds, from text. */
function number(least: number, most: number, what: string) {
  const error = (issue: { input?: unknown }) => `${String(issue.input)} is not ${what} from ${least} to ${most}`;
  return z
    .union([z.string(), z.number()])
    .refine((value) => value !== "" && Number(value) >= least && Number(value) <= most, { error })
    .transform(Number);
}

function count(least: number, most: number, what = "a whole number") {
  return number(least, most, what).refine(Number.isInteger, {
    error: (issue) => `${String(issue.input)} is not a whole number`,
  });
}

const origin = z.string().refine((value) => value === "*" || URL.parse(value)?.origin === value, {
  error: (issue) => `${String(issue.input)} is not an origin such as https://app.example`,
});

/** A name or an address that requests may ask for in `Host`, without a port. */
const hostName = z.string().refine((value) => value === "*" || /^[a-z0-9_.-]{1,253}$|^[0-9a-f:]{2,45}$/i.test(value), {
  error: (issue) => `${String(issue.input)} is not a host name such as models.example, without scheme and port`,
});

/** Keys in plain text; what is said of a bad one does not quote it. */
const plainKeys = list.pipe(
  z.array(z.string().regex(/^[\x21-\x7e]{16,512}$/, "a key has 16 to 512 visible ASCII characters")).min(1, {
    error: "is empty; leave it out to run without keys, or make one with `loqui key`",
  }),
);

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Every setting: its name in the environment and what it takes. The command
 * line has a flag for each (`LOQUI_LOG_LEVEL` is `--log-level`), which wins.
 */
const settingsSchema = z.object({
  HOST: z.string().min(1).default("127.0.0.1"),
  PORT: count(0, 65_535, "a port").default(8000),
  MODELS: list.optional(),
  LOQUI_CONFIG: z.string().min(1).optional(),
  LOQUI_HOME: z.string().min(1).max(4096).default(join(homedir(), ".loqui")),
  LOQUI_STRICT: flag.default(false),
  LOQUI_LOAD_ON_DEMAND: flag.default(true),
  LOQUI_LOG_LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("info"),
  LOQUI_LOG_CONTENT: flag.default(false),
  LOQUI_CORS_ORIGINS: list.pipe(z.array(origin)).default([]),
  LOQUI_METRICS: z.enum(["open", "key", "off"]).optional(),
  LOQUI_ALLOWED_HOSTS: list.pipe(z.array(hostName)).default([]),
  LOQUI_API_KEYS: plainKeys.optional(),
  LOQUI_API_KEYS_FILE: z.string().min(1).optional(),
  LOQUI_PUBLIC_MODELS: flag.default(false),
  LOQUI_REQUESTS_PER_MINUTE: count(1, 1_000_000_000).optional(),
  LOQUI_TOKENS_PER_MINUTE: count(1, 1_000_000_000).optional(),
  LOQUI_TLS_CERT: z.string().min(1).optional(),
  LOQUI_TLS_KEY: z.string().min(1).optional(),
  LOQUI_TLS_CLIENT_CA: z.string().min(1).optional(),
  LOQUI_DRAIN_SECONDS: number(0, 86_400, "a number of seconds").default(30),
  LOQUI_REQUEST_TIMEOUT_SECONDS: number(1, 86_400, "a number of seconds").default(600),
  LOQUI_WATCHDOG_SECONDS: number(0, 86_400, "a number of seconds").default(60),
  LOQUI_STALL_SECONDS: number(1, 86_400, "a number of seconds").default(60),
  LOQUI_HEADER_SECONDS: number(1, 3_600, "a number of seconds").default(20),
  LOQUI_BODY_SECONDS: number(1, 86_400, "a number of seconds").default(120),
  LOQUI_IDLE_SECONDS: number(1, 86_400, "a number of seconds").optional(),
  LOQUI_MAX_CONNECTIONS: count(1, 1_000_000).default(10_000),
  LOQUI_MAX_CONNECTIONS_PER_ADDRESS: count(0, 1_000_000).default(0),
  LOQUI_MAX_STREAMS: count(1, 10_000).default(100),
  LOQUI_MAX_HEADER_KIB: count(1, 1_024).default(16),
  LOQUI_MAX_REQUEST_MIB: count(1, 2_047).default(64),
  // The most that these can be is what the schema allows.
  LOQUI_MAX_CHOICES: count(1, 128).default(128),
  LOQUI_MAX_OUTPUT_TOKENS: count(1, 2 ** 31 - 1).default(2 ** 31 - 1),
  LOQUI_MAX_STOP_STRINGS: count(0, 16).default(16),
  LOQUI_MAX_LOGIT_BIAS: count(0, 1024).default(1024),
});

/** The settings of a server, checked. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  /** Every model that is known, by the order of the files. */
  readonly models: readonly ModelConfig[];
  /** Absolute path of the user's own folder: `cache` in it is what was computed and can be computed again. */
  readonly home: string;
  readonly strict: boolean;
  readonly loadOnDemand: boolean;
  readonly logLevel: string;
  /** Whether the log may hold requests, answers and messages of errors. */
  readonly logContent: boolean;
  readonly corsOrigins: readonly string[];
  /** Who may read `/metrics`: everybody, those with a key of scope `metrics:read`, or nobody. */
  readonly metrics: "open" | "key" | "off";
  /** Names that requests may ask for in `Host`, beside loopback's and the bound address. */
  readonly allowedHosts: readonly string[];
  /** Undefined where no key is asked for. */
  readonly apiKeys: ApiKeySettings | undefined;
  /** Listing and describing models needs no key though keys are asked for. */
  readonly publicModels: boolean;
  /** For keys without limits of their own, and for each address that calls without a key. */
  readonly requestsPerMinute: number | undefined;
  readonly tokensPerMinute: number | undefined;
  /** Paths of PEM files; undefined where the server speaks no TLS. */
  readonly tls: { readonly certFile: string; readonly keyFile: string; readonly clientCaFile?: string } | undefined;
  readonly drainMs: number;
  readonly requestTimeoutMs: number;
  /** Time without a sign of life after which a worker with work is killed; 0 is never. */
  readonly watchdogMs: number;
  readonly stallMs: number;
  /** What the port takes: times in milliseconds, sizes in bytes. */
  readonly portLimits: {
    readonly headersTimeoutMs: number;
    readonly bodyTimeoutMs: number;
    readonly requestTimeoutMs: number;
    /** Undefined for the defaults, which differ between HTTP/1.1 and HTTP/2. */
    readonly idleTimeoutMs: number | undefined;
    readonly maxConnections: number;
    readonly maxConnectionsPerAddress: number;
    readonly maxConcurrentStreams: number;
    readonly maxHeaderBytes: number;
    readonly maxRequestBytes: number;
  };
  /** What one request may ask a model for. */
  readonly chatLimits: {
    readonly maxChoices: number;
    readonly maxOutputTokens: number;
    readonly maxStops: number;
    readonly maxLogitBias: number;
  };
}

/** Where the API keys come from. */
export interface ApiKeySettings {
  /** Those of LOQUI_API_KEYS, with all scopes, in one tenant without a name. */
  readonly fixed: readonly ApiKey[];
  /** Those of LOQUI_API_KEYS_FILE at the start. */
  readonly listed: readonly ApiKey[];
  readonly file: string | undefined;
}

/** Names of the settings, as the environment has them. */
export const settingNames = Object.keys(settingsSchema.shape) as readonly (keyof typeof settingsSchema.shape)[];

/**
 * Settings from the environment and the flags (by the environment's names; a
 * flag wins), with the models of `models.yaml`, `models.local.yaml` and
 * `LOQUI_CONFIG` found from `root`. Throws a ConfigError, also for a `LOQUI_…`
 * that is no setting: a key that is not asked for would be worse than none.
 */
export function readSettings(
  environment: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, unknown>>,
  root: string,
): Settings {
  const strange = Object.keys(environment).find(
    (name) => /^LOQUI_(?!TEST_)/.test(name) && !(settingNames as readonly string[]).includes(name),
  );
  if (strange !== undefined) {
    throw new ConfigError(`${strange} is not a setting; there are ${settingNames.join(", ")}`);
  }
  const input = Object.fromEntries(
    settingNames.flatMap((name) => {
      const value = flags[name] ?? environment[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const result = settingsSchema.safeParse(input);
  if (!result.success) throw new ConfigError(describeIssue(result.error));
  const values = result.data;
  const apiKeys = apiKeySettings(values.LOQUI_API_KEYS, values.LOQUI_API_KEYS_FILE);
  if (apiKeys === undefined && !isLoopback(values.HOST)) {
    throw new ConfigError(
      `HOST: ${values.HOST} is not a loopback address, and without an API key every machine that reaches it could use this server; ` +
        "make a key with `loqui key` and name its file in LOQUI_API_KEYS_FILE, or listen on 127.0.0.1",
    );
  }
  if (apiKeys === undefined && values.LOQUI_METRICS === "key") {
    throw new ConfigError("LOQUI_METRICS: key needs API keys (LOQUI_API_KEYS_FILE), and there are none");
  }
  return {
    host: values.HOST,
    port: values.PORT,
    models: selectModels(knownModels(root, values.LOQUI_CONFIG), values.MODELS),
    home: resolve(values.LOQUI_HOME),
    strict: values.LOQUI_STRICT,
    loadOnDemand: values.LOQUI_LOAD_ON_DEMAND,
    logLevel: values.LOQUI_LOG_LEVEL,
    logContent: values.LOQUI_LOG_CONTENT,
    corsOrigins: values.LOQUI_CORS_ORIGINS,
    metrics: values.LOQUI_METRICS ?? (apiKeys === undefined ? "open" : "key"),
    allowedHosts: values.LOQUI_ALLOWED_HOSTS,
    apiKeys,
    publicModels: values.LOQUI_PUBLIC_MODELS,
    requestsPerMinute: values.LOQUI_REQUESTS_PER_MINUTE,
    tokensPerMinute: values.LOQUI_TOKENS_PER_MINUTE,
    tls: tlsOf(values),
    drainMs: values.LOQUI_DRAIN_SECONDS * 1000,
    requestTimeoutMs: values.LOQUI_REQUEST_TIMEOUT_SECONDS * 1000,
    watchdogMs: values.LOQUI_WATCHDOG_SECONDS * 1000,
    stallMs: values.LOQUI_STALL_SECONDS * 1000,
    portLimits: {
      headersTimeoutMs: values.LOQUI_HEADER_SECONDS * 1000,
      bodyTimeoutMs: values.LOQUI_BODY_SECONDS * 1000,
      // For the bodies that are streams of messages too: no shorter than the others' by far.
      requestTimeoutMs: Math.max(300_000, (values.LOQUI_HEADER_SECONDS + values.LOQUI_BODY_SECONDS) * 1000),
      idleTimeoutMs: values.LOQUI_IDLE_SECONDS === undefined ? undefined : values.LOQUI_IDLE_SECONDS * 1000,
      maxConnections: values.LOQUI_MAX_CONNECTIONS,
      maxConnectionsPerAddress: values.LOQUI_MAX_CONNECTIONS_PER_ADDRESS,
      maxConcurrentStreams: values.LOQUI_MAX_STREAMS,
      maxHeaderBytes: values.LOQUI_MAX_HEADER_KIB * 1024,
      maxRequestBytes: values.LOQUI_MAX_REQUEST_MIB * 1024 * 1024,
    },
    chatLimits: {
      maxChoices: values.LOQUI_MAX_CHOICES,
      maxOutputTokens: values.LOQUI_MAX_OUTPUT_TOKENS,
      maxStops: values.LOQUI_MAX_STOP_STRINGS,
      maxLogitBias: values.LOQUI_MAX_LOGIT_BIAS,
    },
  };
}

/** Only hashes leave here: the plain keys are forgotten. */
function apiKeySettings(plain: readonly string[] | undefined, file: string | undefined): ApiKeySettings | undefined {
  if (plain === undefined && file === undefined) return undefined;
  const fixed = (plain ?? []).map((key, index) => ({
    // A colon stands in no id of a keys file.
    id: `env:${index + 1}`,
    hash: hashKey(key),
    scopes: allScopes,
    tenant: "",
  }));
  return { fixed, listed: file === undefined ? [] : readKeysFile(file), file };
}

/** The files' models; a later file's entry replaces an earlier one of the same id. */
function knownModels(root: string, config: string | undefined): Map<string, ModelConfig> {
  const files = [join(root, "models.yaml"), join(root, "models.local.yaml")].filter((path) => existsSync(path));
  if (config !== undefined) {
    if (!existsSync(config)) throw new ConfigError(`LOQUI_CONFIG: ${config}: no such file`);
    files.push(config);
  }
  return new Map(files.flatMap(readModelsFile).map((model) => [model.id, model]));
}

function tlsOf(values: z.infer<typeof settingsSchema>): Settings["tls"] {
  const { LOQUI_TLS_CERT: certFile, LOQUI_TLS_KEY: keyFile, LOQUI_TLS_CLIENT_CA: clientCaFile } = values;
  if (certFile !== undefined && keyFile !== undefined)
    return { certFile, keyFile, ...(clientCaFile !== undefined && { clientCaFile }) };
  if (certFile !== undefined)
    throw new ConfigError("LOQUI_TLS_CERT needs LOQUI_TLS_KEY, the certificate's private key");
  if (keyFile !== undefined) throw new ConfigError("LOQUI_TLS_KEY needs LOQUI_TLS_CERT, the key's certificate");
  if (clientCaFile !== undefined)
    throw new ConfigError(
      "LOQUI_TLS_CLIENT_CA needs LOQUI_TLS_CERT and LOQUI_TLS_KEY: only TLS has client certificates",
    );
  return undefined;
}

/** `MODELS` chooses what is loaded at start: ids of known models, or paths of .gguf files and checkpoints. */
function selectModels(known: Map<string, ModelConfig>, names: readonly string[] | undefined): ModelConfig[] {
  if (names === undefined) return checkNames([...known.values()]);
  const chosen = new Set<string>();
  for (const name of names) {
    if (known.get(name)?.disabled) throw new ConfigError(`MODELS: ${name} is disabled`);
    if (known.has(name)) chosen.add(name);
    else if (isModelPath(name)) {
      const model = modelOfPath(name);
      if (known.has(model.id) && known.get(model.id)?.source.path !== model.source.path)
        throw new ConfigError(`MODELS: ${name}: the id ${model.id} is taken by another model`);
      known.set(model.id, model);
      chosen.add(model.id);
    } else {
      throw new ConfigError(
        `MODELS: ${name} is neither a known model (${[...known.keys()].join(", ")}) nor the path of a .gguf file or a folder`,
      );
    }
  }
  return checkNames([...known.values()].map((model) => ({ ...model, preload: chosen.has(model.id) })));
}

/** Refuses two models that answer to one name. */
function checkNames(models: ModelConfig[]): ModelConfig[] {
  const owners = new Map<string, string>();
  for (const model of models) {
    for (const name of [model.id, ...model.aliases]) {
      const owner = owners.get(name);
      if (owner !== undefined) throw new ConfigError(`models: ${name} names both ${owner} and ${model.id}`);
      owners.set(name, model.id);
    }
  }
  return models;
}

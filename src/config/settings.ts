import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { ConfigError, describeIssue } from "./config-error.ts";
import { type ModelConfig, modelOfFile, readModelsFile } from "./models-file.ts";

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

/** Other machines must not get in while there are no API keys to tell them apart. */
const loopback = z
  .string()
  .refine((value) => value === "localhost" || value === "::1" || /^127(\.\d{1,3}){3}$/.test(value), {
    error: (issue) =>
      `${String(issue.input)} is not a loopback address; listening for other machines needs API keys, which loqui does not have yet`,
  });

/**
 * Every setting: its name in the environment and what it takes. The command
 * line has a flag for each (`LOQUI_LOG_LEVEL` is `--log-level`), which wins.
 */
const settingsSchema = z.object({
  HOST: loopback.default("127.0.0.1"),
  PORT: count(0, 65_535, "a port").default(8000),
  MODELS: list.optional(),
  LOQUI_CONFIG: z.string().min(1).optional(),
  LOQUI_STRICT: flag.default(false),
  LOQUI_LOAD_ON_DEMAND: flag.default(true),
  LOQUI_LOG_LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("info"),
  LOQUI_CORS_ORIGINS: list.pipe(z.array(origin)).default([]),
  LOQUI_METRICS: z.enum(["open", "key", "off"]).optional(),
  LOQUI_DRAIN_SECONDS: number(0, 86_400, "a number of seconds").default(30),
  LOQUI_REQUEST_TIMEOUT_SECONDS: number(1, 86_400, "a number of seconds").default(600),
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
  readonly strict: boolean;
  readonly loadOnDemand: boolean;
  readonly logLevel: string;
  readonly corsOrigins: readonly string[];
  /** Who may read `/metrics`: everybody, those with a key of scope `admin`, or nobody. */
  readonly metrics: "open" | "key" | "off";
  readonly drainMs: number;
  readonly requestTimeoutMs: number;
  /** What one request may ask a model for. */
  readonly chatLimits: {
    readonly maxChoices: number;
    readonly maxOutputTokens: number;
    readonly maxStops: number;
    readonly maxLogitBias: number;
  };
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
  return {
    host: values.HOST,
    port: values.PORT,
    models: selectModels(knownModels(root, values.LOQUI_CONFIG), values.MODELS),
    strict: values.LOQUI_STRICT,
    loadOnDemand: values.LOQUI_LOAD_ON_DEMAND,
    logLevel: values.LOQUI_LOG_LEVEL,
    corsOrigins: values.LOQUI_CORS_ORIGINS,
    metrics: values.LOQUI_METRICS ?? "open",
    drainMs: values.LOQUI_DRAIN_SECONDS * 1000,
    requestTimeoutMs: values.LOQUI_REQUEST_TIMEOUT_SECONDS * 1000,
    chatLimits: {
      maxChoices: values.LOQUI_MAX_CHOICES,
      maxOutputTokens: values.LOQUI_MAX_OUTPUT_TOKENS,
      maxStops: values.LOQUI_MAX_STOP_STRINGS,
      maxLogitBias: values.LOQUI_MAX_LOGIT_BIAS,
    },
  };
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

/** `MODELS` chooses what is loaded at start: ids of known models, or paths of .gguf files. */
function selectModels(known: Map<string, ModelConfig>, names: readonly string[] | undefined): ModelConfig[] {
  if (names === undefined) return checkNames([...known.values()]);
  const chosen = new Set<string>();
  for (const name of names) {
    if (known.get(name)?.disabled) throw new ConfigError(`MODELS: ${name} is disabled`);
    if (known.has(name)) chosen.add(name);
    else if (/\.gguf$/i.test(name)) {
      const model = modelOfFile(name);
      if (known.has(model.id) && known.get(model.id)?.source.path !== model.source.path)
        throw new ConfigError(`MODELS: ${name}: the id ${model.id} is taken by another model`);
      known.set(model.id, model);
      chosen.add(model.id);
    } else {
      throw new ConfigError(
        `MODELS: ${name} is neither a known model (${[...known.keys()].join(", ")}) nor the path of a .gguf file`,
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

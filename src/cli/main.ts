#!/usr/bin/env node
import { enableCompileCache } from "node:module";
import { setFlagsFromString } from "node:v8";
import { Command, InvalidArgumentError, Option } from "commander";
import { scopeNames } from "../access/scopes.ts";
import { ConfigError } from "../config/config-error.ts";
import { CommandError } from "./command-error.ts";
import type { KeyOptions } from "./key.ts";
import type { RunOptions } from "./run.ts";

/** Flags of a setting: `LOQUI_LOG_LEVEL` is `--log-level`. */
const settingFlags: readonly [flag: string, setting: string, description: string][] = [
  ["--host <address>", "HOST", "address to listen on (127.0.0.1)"],
  ["--port <number>", "PORT", "port to listen on, 0 for any (8000)"],
  ["--models <list>", "MODELS", "models to load at start: ids, .gguf paths or folders, comma-separated"],
  ["--config <file>", "LOQUI_CONFIG", "a models file beside models.yaml and models.local.yaml"],
  ["--strict", "LOQUI_STRICT", "refuse unknown request fields instead of listing them in x-loqui-ignored"],
  ["--load-on-demand <yes|no>", "LOQUI_LOAD_ON_DEMAND", "load a model when a request names it (yes)"],
  ["--log-level <level>", "LOQUI_LOG_LEVEL", "fatal, error, warn, info, debug, trace or silent (info)"],
  ["--home <folder>", "LOQUI_HOME", "the folder of loqui's own files (~/.loqui)"],
  ["--log-content", "LOQUI_LOG_CONTENT", "log requests and answers too, at level debug (off)"],
  ["--cors-origins <list>", "LOQUI_CORS_ORIGINS", "origins of web pages that may call, comma-separated (none)"],
  ["--metrics <who>", "LOQUI_METRICS", "who may read /metrics: open, key or off (key where there are keys, else open)"],
  ["--allowed-hosts <list>", "LOQUI_ALLOWED_HOSTS", "names that requests may ask for, comma-separated (loopback's)"],
  ["--api-keys-file <file>", "LOQUI_API_KEYS_FILE", "YAML list of the API keys that may call; see loqui key"],
  ["--public-models", "LOQUI_PUBLIC_MODELS", "listing and describing models needs no key"],
  ["--requests-per-minute <number>", "LOQUI_REQUESTS_PER_MINUTE", "most requests of one key a minute (no limit)"],
  ["--tokens-per-minute <number>", "LOQUI_TOKENS_PER_MINUTE", "most tokens of one key a minute (no limit)"],
  ["--tls-cert <file>", "LOQUI_TLS_CERT", "PEM file of the certificate chain: the port speaks TLS only"],
  ["--tls-key <file>", "LOQUI_TLS_KEY", "PEM file of the certificate's private key"],
  ["--tls-client-ca <file>", "LOQUI_TLS_CLIENT_CA", "PEM file of the CAs that clients need a certificate of"],
  ["--drain-seconds <number>", "LOQUI_DRAIN_SECONDS", "time that requests in flight get when the server ends (30)"],
  ["--request-timeout-seconds <number>", "LOQUI_REQUEST_TIMEOUT_SECONDS", "the longest a request may take (600)"],
  [
    "--watchdog-seconds <number>",
    "LOQUI_WATCHDOG_SECONDS",
    "a worker that shows no sign of life for this long is killed; 0 for never, as under a debugger (60)",
  ],
  ["--stall-seconds <number>", "LOQUI_STALL_SECONDS", "a client that reads nothing for so long is cut off (60)"],
  ["--header-seconds <number>", "LOQUI_HEADER_SECONDS", "time for the header of an HTTP/1.1 request (20)"],
  ["--body-seconds <number>", "LOQUI_BODY_SECONDS", "time for the body of a request (120)"],
  ["--idle-seconds <number>", "LOQUI_IDLE_SECONDS", "a connection idle for so long is closed (65; HTTP/2: 300)"],
  ["--max-connections <number>", "LOQUI_MAX_CONNECTIONS", "the most connections at a time (10000)"],
  [
    "--max-connections-per-address <number>",
    "LOQUI_MAX_CONNECTIONS_PER_ADDRESS",
    "the same from one address, 0 for no limit (0)",
  ],
  ["--max-streams <number>", "LOQUI_MAX_STREAMS", "the most requests at a time on one connection (100)"],
  ["--max-header-kib <number>", "LOQUI_MAX_HEADER_KIB", "the largest header of a request, in KiB (16)"],
  ["--max-request-mib <number>", "LOQUI_MAX_REQUEST_MIB", "the largest body of a request, decoded, in MiB (64)"],
  ["--max-choices <number>", "LOQUI_MAX_CHOICES", "the most answers of one request (128)"],
  ["--max-output-tokens <number>", "LOQUI_MAX_OUTPUT_TOKENS", "the most tokens of one answer (those of the context)"],
  ["--max-stop-strings <number>", "LOQUI_MAX_STOP_STRINGS", "the most stop strings of one request (16)"],
  ["--max-logit-bias <number>", "LOQUI_MAX_LOGIT_BIAS", "the most entries of logit_bias (1024)"],
];

// A server's answers are short-lived garbage by the megabyte: a young generation
// that grows with them would add 50 MB of memory and no speed.
setFlagsFromString("--semi-space-growth-factor=1");
// From the second start on, sources need neither stripping nor compiling.
enableCompileCache();

const program = new Command("loqui")
  .description("Serves AI models over gRPC, gRPC-Web, Connect and the OpenAI REST API, on one port.")
  .showHelpAfterError("(--help lists what there is)")
  .configureHelp({ showGlobalOptions: true });

withSettings(program.command("serve"))
  .description("start the server")
  .action(async (options: Record<string, unknown>) => {
    const { serve } = await import("./serve.ts");
    await serve(flagsOf(options));
  });

withSettings(program.command("run"))
  .description(
    "stream a model's answer to the terminal; uses the server at HOST:PORT if one answers, else starts its own",
  )
  .argument("<model>", "id or alias of a model, or the path of a .gguf file")
  .argument("<prompt>", "what to say to it; - reads standard input")
  .option("--system <text>", "a system message before the prompt")
  .option("--max-tokens <number>", "the most tokens to generate", toCount)
  .option("--temperature <number>", "0 to 2", toNumber)
  .option("--seed <number>", "a whole number, for the same answer again", toInteger)
  .action(async (model: string, prompt: string, options: RunOptions & Record<string, unknown>) => {
    const { run } = await import("./run.ts");
    await run(model, prompt, options, flagsOf(options));
  });

program
  .command("key")
  .description("make an API key: the key goes to standard error, its entry for the keys file to standard output")
  .argument("<id>", "what the key is called in logs")
  .option("--scopes <list>", `comma-separated, of ${scopeNames.join(", ")}`, "inference,models:read")
  .option("--tenant <name>", "keys of one tenant share caches (a tenant of its own)")
  .option("--requests-per-minute <number>", "most requests a minute (the server's default)", toInteger)
  .option("--tokens-per-minute <number>", "most tokens a minute (the server's default)", toInteger)
  .action(async (id: string, options: KeyOptions) => {
    const { key } = await import("./key.ts");
    key(id, options);
  });

/** By name: importing the class would load the server for `--help` too. */
function isListenError(error: unknown): error is Error {
  return error instanceof Error && error.name === "ListenError";
}

function toNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It is not a number.");
  return value;
}

function toInteger(text: string): number {
  const value = toNumber(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError("It is not a whole number.");
  return value;
}

function toCount(text: string): number {
  const value = toInteger(text);
  if (value < 0 || value >= 2 ** 31) throw new InvalidArgumentError("It is not a whole number from 0 to 2147483647.");
  return value;
}

function withSettings(command: Command): Command {
  for (const [flag, setting, description] of settingFlags) {
    command.addOption(new Option(flag, `${description} [${setting}]`));
  }
  return command;
}

/** Options by the names that the environment has for them. */
function flagsOf(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    settingFlags.flatMap(([flag, setting]) => {
      const value = options[new Option(flag).attributeName()];
      return value === undefined ? [] : [[setting, value]];
    }),
  );
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof ConfigError || error instanceof CommandError || isListenError(error))) throw error;
  process.stderr.write(`loqui: ${error.message}\n`);
  process.exitCode = 1;
}

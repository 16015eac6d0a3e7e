/**
 * What a worker may need of the parent's environment. Not all of it: that
 * holds API keys and tokens, and a model file is untrusted input to native code.
 */
const passed = [
  /^(PATH|HOME|LANG|LC_[A-Z]+|TZ|TMPDIR|TEMP|TMP)$/,
  // The loader's paths and which devices and threads a runtime uses.
  /^(LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|SystemRoot|SYSTEMROOT|windir)$/,
  /^(CUDA|NVIDIA|GGML|LLAMA|OMP|GOMP|KMP|ORT)_[A-Z0-9_]+$/,
  /^HF_(HOME|HUB_CACHE)$/,
];

/** The environment of a worker: what it may need of the parent's, and what its runtime asks for. */
export function workerEnvironment(
  parent: Readonly<Record<string, string | undefined>>,
  runtime: Readonly<Record<string, string>>,
): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(parent)) {
    if (value !== undefined && passed.some((pattern) => pattern.test(name))) environment[name] = value;
  }
  return { ...environment, ...runtime };
}

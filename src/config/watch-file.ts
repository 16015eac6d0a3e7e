import { unwatchFile, watchFile as watchStat } from "node:fs";

const intervalMs = 1_000;

/**
 * Calls `onChange` when a file was written, replaced or removed; looks at it
 * once a second. Unlike inotify this follows symbolic links, by which
 * Kubernetes mounts secrets, and an editor's renaming. Does not keep the
 * process alive. Returns what ends it.
 */
export function watchFile(path: string, onChange: () => void): () => void {
  watchStat(path, { interval: intervalMs, persistent: false }, onChange);
  return () => unwatchFile(path, onChange);
}

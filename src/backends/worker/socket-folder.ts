import { once } from "node:events";
import { lstat, mkdtemp, readdir, rm, rmdir } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ownerSocket } from "../../worker/ipc.ts";

/** A folder for the sockets of one model's workers, for this user alone. */
export interface SocketFolder {
  readonly path: string;
  remove(): Promise<void>;
}

const prefix = "loqui-workers-";

/**
 * Makes a folder that is known to be in use for as long as this process lives:
 * it listens on a socket in it. A process id would not do, other containers may
 * share the folder and not the numbers.
 */
export async function openSocketFolder(): Promise<SocketFolder> {
  const path = await mkdtemp(join(tmpdir(), prefix));
  const owner = createServer((socket) => socket.destroy());
  owner.listen(join(path, ownerSocket)).unref();
  await once(owner, "listening");
  return {
    path,
    async remove() {
      owner.close();
      await rm(path, { recursive: true, force: true });
    },
  };
}

/**
 * Removes the folders of processes that were killed together with their
 * workers, which would have removed them. Leaves alone what it doesn't know.
 */
export async function sweepSocketFolders(): Promise<void> {
  const root = tmpdir();
  const entries = await readdir(root).catch(() => []);
  const names = entries.filter((name) => name.startsWith(prefix));
  await Promise.all(names.map((name) => sweep(join(root, name)).catch(() => {})));
}

async function sweep(path: string): Promise<void> {
  const stat = await lstat(path);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.()) return;
  const sockets = (await readdir(path)).filter((name) => name.endsWith(".sock"));
  if (!sockets.includes(ownerSocket) || (await answers(join(path, ownerSocket)))) return;
  for (const name of sockets) await rm(join(path, name), { force: true });
  await rmdir(path);
}

/** Whether anybody listens on a socket; true where that can't be told. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}

import { join, resolve } from "node:path";

/** The file that is locked while a program uses the folder. */
const LOCK_FILE = "lakebase.lock";
/** The content of that file until the folder has a complete database. */
const STARTING = "starting";
/** Milliseconds that a start waits for another program to end, such as a kernel that is being restarted. */
const LOCK_WAIT = 5000;
const LOCK_PAUSE = 100;

/**
 * The folder with the data of an embedded database. It is locked, because two programs that write to the same data
 * destroy them, and PGlite does not check for that. A first start that was interrupted leaves an incomplete database,
 * which the next start replaces.
 */
export class DataFolder implements Disposable {
  /** The absolute path. */
  readonly path: string;
  readonly #lock: Deno.FsFile;
  #closed = false;

  private constructor(path: string, lock: Deno.FsFile) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Creates the folder if it does not exist, and locks it.
   *
   * @param dataDir The path, which may begin with `file://`.
   * @throws {Error} If the folder can't be used, has other files, or is used by another program.
   */
  static async open(dataDir: string): Promise<DataFolder> {
    const path = resolve(dataDir.replace(/^file:\/\//, ""));
    const { lock, isNew } = await openLockFile(path);
    const folder = new DataFolder(path, lock);
    try {
      await acquireLock(path, lock);
      await folder.#prepare(isNew);
    } catch (error) {
      folder[Symbol.dispose]();
      throw error;
    }
    return folder;
  }

  /** Records that the folder has a complete database. */
  async complete(): Promise<void> {
    await this.#lock.truncate(0);
  }

  /** Removes an incomplete database, and marks the one that is about to start as incomplete. */
  async #prepare(isLockNew: boolean): Promise<void> {
    const names = (await Array.fromAsync(Deno.readDir(this.path), ({ name }) => name))
      .filter((name) => !name.startsWith(".") && name !== LOCK_FILE && name !== "lost+found");
    const incomplete = await readContent(this.#lock) === STARTING;
    if (names.includes("PG_VERSION") && !incomplete) return;
    if (incomplete) { for (const name of names) await Deno.remove(join(this.path, name), { recursive: true }); }
    else if (names.length > 0) {
      if (isLockNew) await Deno.remove(join(this.path, LOCK_FILE));
      throw cannotUse(this.path, `it holds ${JSON.stringify(names[0])} and no database; name a new or an empty folder`);
    }
    await this.#lock.write(new TextEncoder().encode(STARTING));
    await this.#lock.sync();
  }

  /** Lets other programs use the folder. */
  [Symbol.dispose](): void {
    if (!this.#closed) this.#lock.close();
    this.#closed = true;
  }
}

async function openLockFile(path: string): Promise<{ lock: Deno.FsFile; isNew: boolean }> {
  try {
    await Deno.mkdir(path, { recursive: true });
    const file = join(path, LOCK_FILE);
    const isNew = await Deno.stat(file).then(() => false, () => true);
    return { lock: await Deno.open(file, { read: true, write: true, create: true }), isNew };
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw cannotUse(path, "it is not a folder; name a folder");
    throw cannotUse(path, error instanceof Error ? error.message : String(error));
  }
}

/** Locks the file, and waits for it if necessary. A file system without locks, such as some on networks, is not checked. */
async function acquireLock(path: string, lock: Deno.FsFile): Promise<void> {
  for (const end = Date.now() + LOCK_WAIT; !await lock.tryLock(true).catch(() => true);) {
    if (Date.now() > end) {
      throw cannotUse(path, "another local Lakebase uses it; end that one, connect to it, or name another folder");
    }
    await new Promise((resolve) => setTimeout(resolve, LOCK_PAUSE));
  }
}

async function readContent(file: Deno.FsFile): Promise<string> {
  const bytes = new Uint8Array(STARTING.length);
  await file.seek(0, Deno.SeekMode.Start);
  const length = await file.read(bytes) ?? 0;
  await file.seek(0, Deno.SeekMode.Start);
  return new TextDecoder().decode(bytes.subarray(0, length));
}

function cannotUse(path: string, state: string): Error {
  return new Error(`Cannot keep the data in ${JSON.stringify(path)}: ${state}`);
}

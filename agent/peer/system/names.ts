import { isUtf8 } from 'node:buffer';
import { exitNow } from './hardening.ts';
import { addressOf, libc, type NameLookup, systemError } from './native.ts';

/** Asks the system for one name; `undefined` when nobody has the id. */
export type NameSource = (kind: 'user' | 'group', id: number) => Promise<string | undefined>;

interface Waiting {
  readonly kind: 'user' | 'group';
  readonly id: number;
  readonly resolve: (name: string | undefined) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Names of users and groups as the system knows them (NSS: files, LDAP, SSSD, …), asked off the main thread and one after the
 * other: a directory service that hangs costs one of libuv's four threads and no more.
 */
export class Names {
  readonly #source: NameSource;
  readonly #queue = new Set<Waiting>();
  #asking = false;

  constructor(source: NameSource = askSystem) {
    this.#source = source;
  }

  /**
   * The name of a user or group, `undefined` when there is none (or none in UTF-8). What waits its turn when `signal` aborts is not
   * asked any more; a question that was put already cannot be taken back, only its answer is no longer waited for.
   *
   * @throws Error with `code` when the directory cannot be asked; the reason of `signal` when it aborts
   */
  async lookup(kind: 'user' | 'group', id: number, signal: AbortSignal): Promise<string | undefined> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    const waiting = { kind, id, resolve, reject };
    const abort = () => {
      this.#queue.delete(waiting);
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort);
    this.#queue.add(waiting);
    void this.#askOn();
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  async #askOn(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    // Node joins its threads when it exits, and the one that asks may not come back.
    process.on('exit', exitNow);
    for (const waiting of this.#queue) {
      this.#queue.delete(waiting);
      await this.#source(waiting.kind, waiting.id).then(waiting.resolve, waiting.reject);
    }
    process.off('exit', exitNow);
    this.#asking = false;
  }
}

// `struct passwd` is 48 bytes, `struct group` 32; both begin with the pointer to the name.
const RECORD_SIZE = 64;
const TOO_SMALL = Symbol('too small');
const FIRST_SIZE = 4096;
// A group's record holds its members: large sites have some with ten thousand.
const MAX_SIZE = 4 * 1024 * 1024;
// What getpwnam(3) lists as spellings of "not found".
const NOT_FOUND = new Set(['ENOENT', 'ESRCH', 'EBADF', 'EPERM']);

/** {@link NameSource} by `getpwuid_r(3)` and `getgrgid_r(3)`. */
async function askSystem(kind: 'user' | 'group', id: number): Promise<string | undefined> {
  const lookup = kind === 'user' ? libc.getpwuid : libc.getgrgid;
  for (let size = FIRST_SIZE; size <= MAX_SIZE; size *= 4) {
    const answer = await ask(lookup, id, size);
    if (answer !== TOO_SMALL) return answer;
  }
  throw systemError(kind === 'user' ? 'getpwuid_r' : 'getgrgid_r', 34);
}

function ask(lookup: NameLookup, id: number, size: number): Promise<string | undefined | typeof TOO_SMALL> {
  const record = Buffer.alloc(RECORD_SIZE);
  const strings = Buffer.alloc(size);
  const found = Buffer.alloc(8);
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined | typeof TOO_SMALL>();
  lookup.async(id, record, strings, size, found, (error, errno) => {
    if (error !== null && error !== undefined) return reject(error);
    const failure = errno === 0 ? undefined : systemError('getpwuid_r', errno);
    if (failure?.code === 'ERANGE') return resolve(TOO_SMALL);
    if (failure !== undefined && !NOT_FOUND.has(failure.code ?? '')) return reject(failure);
    if (failure !== undefined || found.readBigUInt64LE(0) === 0n) return resolve(undefined);
    const start = Number(record.readBigUInt64LE(0) - addressOf(strings));
    const name = strings.subarray(start, strings.indexOf(0, start));
    // Two names that are no UTF-8 would be one when decoded: neither is said.
    resolve(name.length > 0 && isUtf8(name) ? name.toString('utf8') : undefined);
  });
  return promise;
}

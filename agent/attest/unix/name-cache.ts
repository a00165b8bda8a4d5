import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import { Shortcomings } from '../shortcomings.ts';

/**
 * The system's own directory of names (NSS: files, LDAP, SSSD, …), asked off the main thread. `undefined`: nobody has that number.
 *
 * Error contract: throws when it cannot be asked, and the reason of `signal` when it aborts. It limits by itself how many questions
 * are under way.
 */
export interface NameDirectory {
  lookup(kind: 'user' | 'group', id: number, signal: AbortSignal): Promise<string | undefined>;
}

export interface NameCacheOptions {
  readonly clock: Clock;
  /** How long an answer is believed, in milliseconds; 60 s unless said. */
  readonly ttl?: number;
  /** How long a caller waits for an answer, in milliseconds; 500 unless said. */
  readonly deadline?: number;
  /** How many names are remembered, and how many numbers that nobody has; 4096 unless said. */
  readonly size?: number;
}

interface Known {
  readonly name: string | undefined;
  readonly until: number;
}

interface Question {
  readonly answer: Promise<string | undefined>;
  readonly stop: AbortController;
}

// After an error the next callers do without the name at once instead of asking a directory that is down one after the other.
const ERROR_TTL_MS = 5000;
// A question that its caller has given up goes on for so long: a slow directory serves those who come after.
const GIVE_UP_MS = 10_000;

const SENTENCES = {
  user: 'The name of a user could not be looked up, unix:user is not said of it; look at the services in nsswitch.conf',
  group:
    'The name of a group could not be looked up, unix:group and unix:supplementary_group are not said of it; look at the services in nsswitch.conf',
} as const;

/**
 * Names of users and groups, remembered briefly. That a name could not be found out in time is no error for who asks; while the directory
 * does not answer, what had a name goes by it on, so that nobody loses what he has because of that.
 */
export class NameCache {
  readonly #directory: NameDirectory;
  readonly #clock: Clock;
  readonly #ttl: number;
  readonly #deadline: number;
  readonly #size: number;
  readonly #names = new Map<string, Known>();
  // Apart from the names: whoever may give himself numbers that nobody has must not have them forgotten.
  readonly #strangers = new Map<string, Known>();
  readonly #questions = new Map<string, Question>();
  readonly #shortcomings: Shortcomings<keyof typeof SENTENCES>;
  #closed = false;

  constructor(directory: NameDirectory, options: NameCacheOptions) {
    this.#directory = directory;
    this.#clock = options.clock;
    this.#ttl = options.ttl ?? 60_000;
    this.#deadline = options.deadline ?? 500;
    this.#size = options.size ?? 4096;
    this.#shortcomings = new Shortcomings(SENTENCES, options.clock);
  }

  /** The name of a user, or `undefined` when there is none, or none in time. Never rejects. */
  user(uid: number): Promise<string | undefined> {
    return this.#name('user', uid);
  }

  /** The name of a group, or `undefined` when there is none, or none in time. Never rejects. */
  group(gid: number): Promise<string | undefined> {
    return this.#name('group', gid);
  }

  /**
   * The names of groups in their order, in the time that one has. They are asked for one after the other: a process with a thousand
   * groups has one question under way, like everybody else. Never rejects.
   */
  async groups(gids: readonly number[]): Promise<readonly (string | undefined)[]> {
    const until = this.#clock.monotonic() + this.#deadline;
    const names: (string | undefined)[] = [];
    let unasked: number | undefined;
    for (const gid of gids) {
      const key = keyOf('group', gid);
      const known = this.#known(key);
      if (known !== undefined) names.push(known.name);
      else if (this.#clock.monotonic() < until) names.push(await this.group(gid));
      else {
        names.push(this.#last(key));
        unasked ??= gid;
      }
    }
    if (unasked !== undefined) this.#shortcomings.note('group', `group ${unasked}: ${this.#tooLate}`);
    return names;
  }

  shortcomings(): readonly string[] {
    return this.#shortcomings.list();
  }

  /** Lets every waiting caller go without a name. A question that hangs in the system is left to its thread. */
  close(): void {
    this.#closed = true;
    for (const { stop } of this.#questions.values()) stop.abort(new Error('the agent shuts down'));
  }

  #name(kind: 'user' | 'group', id: number): Promise<string | undefined> {
    const key = keyOf(kind, id);
    const known = this.#known(key);
    if (known !== undefined) return Promise.resolve(known.name);
    if (this.#closed) return Promise.resolve(undefined);
    const asked = this.#questions.get(key) ?? this.#ask(key, kind, id);
    return asked.answer;
  }

  #ask(key: string, kind: 'user' | 'group', id: number): Question {
    const stop = new AbortController();
    const { promise: answer, resolve } = Promise.withResolvers<string | undefined>();
    const late = this.#clock.after(this.#deadline, () => {
      this.#shortcomings.note(kind, `${kind} ${id}: ${this.#tooLate}`);
      resolve(this.#last(key));
    });
    const tooLate = this.#clock.after(GIVE_UP_MS, () => stop.abort(new Error(`no answer within ${GIVE_UP_MS} ms`)));
    const look = async (): Promise<void> => {
      let name: string | undefined;
      try {
        name = await this.#directory.lookup(kind, id, stop.signal);
        this.#remember(key, name, this.#ttl);
      } catch (error) {
        if (!this.#closed) this.#shortcomings.note(kind, `${kind} ${id}: ${messageOf(error)}`);
        name = this.#last(key);
        this.#remember(key, name, ERROR_TTL_MS);
      }
      late.cancel();
      tooLate.cancel();
      this.#questions.delete(key);
      resolve(name);
    };
    const question = { answer, stop };
    this.#questions.set(key, question);
    void look();
    return question;
  }

  get #tooLate(): string {
    return `no answer within ${this.#deadline} ms`;
  }

  /** What was said a while ago and is believed. */
  #known(key: string): Known | undefined {
    const known = this.#names.get(key) ?? this.#strangers.get(key);
    return known !== undefined && this.#clock.monotonic() < known.until ? known : undefined;
  }

  /** The name that it had, however long ago that was said. */
  #last(key: string): string | undefined {
    return this.#names.get(key)?.name;
  }

  #remember(key: string, name: string | undefined, ttl: number): void {
    this.#names.delete(key);
    this.#strangers.delete(key);
    const among = name === undefined ? this.#strangers : this.#names;
    among.set(key, { name, until: this.#clock.monotonic() + ttl });
    if (among.size <= this.#size) return;
    const [oldest] = among.keys();
    if (oldest !== undefined) among.delete(oldest);
  }
}

function keyOf(kind: 'user' | 'group', id: number): string {
  return `${kind}:${id}`;
}

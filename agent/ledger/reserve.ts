import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { LedgerFiles } from './ledger-files.ts';

const NAME = 'reserve';

/** Room on the disk that is kept for endings: a file that holds nothing, and is removed when there is no room for anything else. */
export class Reserve {
  readonly #directory: string;
  readonly #path: string;
  readonly #bytes: number;
  readonly #files: LedgerFiles;
  #held: boolean;

  constructor(directory: string, bytes: number, files: LedgerFiles) {
    this.#directory = directory;
    this.#path = join(directory, NAME);
    this.#bytes = bytes;
    this.#files = files;
    this.#held = statSync(this.#path, { throwIfNoEntry: false })?.size === bytes;
  }

  get held(): boolean {
    return this.#held;
  }

  /** Makes it where it is missing. @returns whether it is there now: else there is no room for it */
  async restored(): Promise<boolean> {
    if (this.#held) return true;
    try {
      // Others on a full disk would suffer from every attempt that must fail.
      if ((await this.#files.free(this.#directory)) < this.#bytes) return false;
      await this.#files.allocate(this.#path, this.#bytes);
      this.#held = true;
    } catch {
      await this.giveUp();
    }
    return this.#held;
  }

  async giveUp(): Promise<void> {
    this.#held = false;
    await this.#files.remove(this.#path).catch(() => undefined);
  }
}

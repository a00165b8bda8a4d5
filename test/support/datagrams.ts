import { closeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { checked, libc } from '../../agent/peer/system/native.ts';
import { PATIENCE_MS } from './json-lines.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0o4000 | 0o2000000;

/** The socket of a service manager, on which it is told by datagrams. */
export class Datagrams implements Disposable {
  readonly all: string[] = [];
  readonly #fd = checked('socket', libc.socket(AF_UNIX, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0));

  /** @param path of the socket; with `@` in front a name in the abstract namespace */
  constructor(path: string) {
    const address = Buffer.from(`\0\0${path.replace(/^@/, '\0')}`);
    address.writeUInt16LE(AF_UNIX, 0);
    checked('bind', libc.bind(this.#fd, address, address.length));
  }

  /** Takes what has come, and says all that ever has. */
  receive(): readonly string[] {
    const buffer = Buffer.alloc(4096);
    for (;;) {
      const size = libc.recv(this.#fd, buffer, buffer.length, 0);
      if (size < 0) return this.all;
      this.all.push(buffer.toString('utf8', 0, size));
    }
  }

  /** Waits until `matches` says that enough has come. */
  async until(matches: (all: readonly string[]) => boolean, what: string): Promise<readonly string[]> {
    const start = performance.now();
    while (!matches(this.receive())) {
      if (performance.now() - start > PATIENCE_MS) throw new Error(`${what} did not come: ${JSON.stringify(this.all)}`);
      await delay(10);
    }
    return this.all;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

import type { AnswerSink } from '../http-answer.ts';

// An event has all labels of its container. What is longer is passed over: somebody else's labels must not end the watch.
const MOST_BYTES = 1 << 20;
const NEWLINE = 10;
// As Docker and as podman names them; what is said of others, such as of health checks, comes all day and changes nothing.
const CHANGES: ReadonlySet<unknown> = new Set(['cleanup', 'destroy', 'die', 'died', 'remove', 'start', 'stop']);

/** Finds in a stream of events, a JSON object a line, which containers may have started or ended. */
export class EventLines implements AnswerSink {
  readonly #changed: (id: string | undefined) => void;
  #line: Buffer[] = [];
  #length = 0;

  /** @param changed gets the id of a container, or `undefined` where an event could not be read: then it may be any */
  constructor(changed: (id: string | undefined) => void) {
    this.#changed = changed;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      this.#add(chunk.subarray(start, end));
      this.#take();
      start = end + 1;
    }
    this.#add(chunk.subarray(start));
  }

  end(): void {
    this.#take();
  }

  #add(part: Buffer): void {
    this.#length += part.length;
    if (this.#length > MOST_BYTES) this.#line = [];
    else this.#line.push(part);
  }

  #take(): void {
    const [line, length] = [this.#line, this.#length];
    this.#line = [];
    this.#length = 0;
    if (length > MOST_BYTES) this.#changed(undefined);
    else if (length > 0) this.#read(Buffer.concat(line).toString('utf8'));
  }

  #read(line: string): void {
    if (line.trim() === '') return;
    const event = parsed(line);
    if (!isObject(event)) {
      this.#changed(undefined);
      return;
    }
    const { Action: action, Actor: actor, id, status } = event;
    if (!CHANGES.has(action ?? status)) return;
    const named = isObject(actor) ? (actor['ID'] ?? id) : id;
    this.#changed(typeof named === 'string' ? named : undefined);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../support/json-lines.ts';
import type { Machine } from './machine.ts';

const LOGS = '/var/log/pods';
// Above what the agent's callers wait for between two attempts.
const PATIENCE_MS = 40_000;

export interface PodName {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** The JSON lines that the first container of a pod prints, read where containerd writes them: no kubelet is asked. */
export class PodLog<Line> {
  readonly #pod: PodName;
  readonly #directory: string;

  constructor(machine: Machine, pod: PodName) {
    this.#pod = pod;
    this.#directory = machine.path(join(LOGS, `${pod.namespace}_${pod.name}_${pod.uid}`));
  }

  /** All there are, oldest first. @throws when the container was started again, whose lines are in another file */
  get lines(): readonly Line[] {
    if (!existsSync(this.#directory)) return [];
    const [container] = readdirSync(this.#directory);
    const files = container === undefined ? [] : readdirSync(join(this.#directory, container));
    if (files.some((file) => file !== '0.log')) throw new Error(`${this.#pod.name} was started again`);
    if (container === undefined || files.length === 0) return [];
    const text = readFileSync(join(this.#directory, container, '0.log'), 'utf8');
    // Each begins with the time, the stream and whether it is whole. The last may be being written.
    const whole = text.split('\n').slice(0, -1);
    return whole.flatMap((line) => {
      const [, , , ...rest] = line.split(' ');
      const said = rest.join(' ');
      return said.startsWith('{') ? [JSON.parse(said) as Line] : [];
    });
  }

  /** The first line that is so, once it is there. @param after how many lines do not count */
  first(what: string, matches: (line: Line) => boolean, after = 0, ms: number = PATIENCE_MS): Promise<Line> {
    return eventually(`${what} of ${this.#pod.name}`, () => this.lines.slice(after).find(matches), ms);
  }
}

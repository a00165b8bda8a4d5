import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Machine } from './machine.ts';

/** `kubectl` as the cluster's administrator. */
export class Kubectl {
  readonly #machine: Machine;
  readonly #command: readonly string[];
  /** In the machine. */
  readonly kubeconfig: string;

  /** @param node the program of a node @param kubeconfig in the machine */
  constructor(machine: Machine, node: string, kubeconfig: string) {
    this.#machine = machine;
    this.kubeconfig = kubeconfig;
    this.#command = [node, 'kubectl', `--kubeconfig=${kubeconfig}`];
  }

  /** @returns what it has printed @throws when it fails, with what it said */
  run(...args: readonly string[]): Promise<string> {
    return this.#machine.run([...this.#command, ...args], { timeout: 120_000 });
  }

  async json<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.run(...args, '--output=json')) as T;
  }

  /** Applies manifests; what they say of fields that nobody knows is an error. @returns what it has printed */
  apply(manifests: string, ...args: readonly string[]): Promise<string> {
    return this.#fed(manifests, ['apply', '--validate=strict', '--filename=-', ...args]);
  }

  async #fed(input: string, args: readonly string[]): Promise<string> {
    const [program, ...rest] = this.#machine.command([...this.#command, ...args]);
    const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.end(input);
    await once(child, 'close');
    if (child.exitCode !== 0) throw new Error(stderr);
    return stdout;
  }
}

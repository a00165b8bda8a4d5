import { spawn } from 'node:child_process';
import { expect } from 'vitest';
import { endOf, plainEnvironment } from './daemon.ts';
import { JsonLines } from './json-lines.ts';
import type { ShortSaid } from './short-process.ts';

const PROGRAM = new URL('short-process.ts', import.meta.url).pathname;
const COMPILE_CACHE = new URL('../../node_modules/.cache/mayfly-test', import.meta.url).pathname;

/** One process that comes, fetches and goes. */
export async function comeAndGo(socket: string, how: 'leave' | 'hang'): Promise<ShortSaid> {
  const child = spawn(process.execPath, [PROGRAM, socket, how], {
    env: { ...plainEnvironment(), NODE_COMPILE_CACHE: COMPILE_CACHE },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines = new JsonLines<ShortSaid>(child.stdout);
  const ended = endOf(child);
  try {
    const said = await lines.first(() => true, 'an identity');
    if (how === 'hang') child.kill('SIGKILL');
    expect(await ended).toMatchObject({ stderr: '', ...(how === 'hang' ? { signal: 'SIGKILL' } : { code: 0 }) });
    return said;
  } finally {
    child.kill('SIGKILL');
  }
}

/**
 * As many processes as are asked for, some at a time; each fourth is killed.
 *
 * @param begins is told of each before it comes, by its number from 1
 * @returns what they said, in the order in which they ended
 */
export async function comeAndGoMany(
  socket: string,
  processes: number,
  atATime: number,
  begins: (nth: number) => void = () => undefined,
): Promise<readonly ShortSaid[]> {
  const said: ShortSaid[] = [];
  let begun = 0;
  const worker = async () => {
    while (begun < processes) {
      begun += 1;
      begins(begun);
      said.push(await comeAndGo(socket, begun % 4 === 0 ? 'hang' : 'leave'));
    }
  };
  await Promise.all(Array.from({ length: atATime }, worker));
  return said;
}

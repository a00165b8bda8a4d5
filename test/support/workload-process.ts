// A workload: it does what its input says, a command a line, and writes what comes of it as JSON lines. Arguments: the socket, and
// the uid to become first. Ends with its input.
import { keepCompiledCode } from '../../agent/compile-cache.js';

keepCompiledCode();
const { WorkloadSession } = await import('./workload-session.ts');
const { createInterface } = await import('node:readline');

const [socket = '', uid] = process.argv.slice(2);
if (uid !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(Number(uid));
  process.setuid?.(Number(uid));
}

const session = new WorkloadSession(socket, (said) => void process.stdout.write(`${JSON.stringify(said)}\n`));
for await (const line of createInterface({ input: process.stdin })) await session.obey(line.split(' '));
process.exit(0);

// A workload: it does what its input says, a command a line, and writes what comes of it as JSON lines. Arguments: the socket, and
// the uid to become before it connects. Ends with its input.
import { createInterface } from 'node:readline';
import { WorkloadSession } from './workload-session.ts';

const [socket = '', uid] = process.argv.slice(2);
if (uid !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(Number(uid));
  process.setuid?.(Number(uid));
}

const session = new WorkloadSession(socket, (said) => void process.stdout.write(`${JSON.stringify(said)}\n`));
for await (const line of createInterface({ input: process.stdin })) await session.obey(line.split(' '));
process.exit(0);

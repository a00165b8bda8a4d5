// Binds a socket and listens, says how that went, and keeps it until its input ends.
import { createServer } from 'node:net';
import { isMayflyError } from '../../agent/kernel/errors.ts';
import { bindSocketPath } from '../../agent/peer/socket-path.ts';

const [path = '', when = '0'] = process.argv.slice(2);
process.stdout.write('ready\n');
while (Date.now() < Number(when)) {
  // All starters set out at the same moment.
}
try {
  const bound = bindSocketPath(path, 0o600);
  createServer().listen({ fd: bound.descriptor }, () => process.stdout.write('listening\n'));
} catch (error) {
  process.stdout.write(`${isMayflyError(error) ? error.code : String(error)}\n`);
}
process.stdin.on('end', () => process.exit(0)).resume();

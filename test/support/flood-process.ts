// Opens as many connections as it is told, and asks nothing on any. Arguments: the socket. Commands: `open N`, `count`, `close`.
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const [path = ''] = process.argv.slice(2);
const open = new Set<Socket>();
let closed = 0;
let failed = 0;

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(' ');
  if (command === 'open') for (let left = Number(count); left > 0; left -= 1) add();
  if (command === 'close') for (const socket of open) socket.destroy();
  process.stdout.write(`${JSON.stringify({ open: open.size, closed, failed })}\n`);
}

function add(): void {
  let connected = false;
  let isFull = false;
  const socket = connect(path, () => {
    connected = true;
  });
  open.add(socket);
  socket.resume();
  socket.on('error', (error: NodeJS.ErrnoException) => {
    isFull = error.code === 'EAGAIN';
  });
  socket.on('close', () => {
    open.delete(socket);
    // Nobody has accepted for a while: that is the machine's doing, not the agent's.
    if (isFull) setTimeout(add, 10);
    else if (connected) closed += 1;
    else failed += 1;
  });
}

// Listens at a path, and says of each connection who opened it. Ends with its input.
import { createServer } from 'node:net';
import { type Proof, readCredentials } from '../../agent/peer/credentials.ts';

const [path, proof] = process.argv.slice(2);
const server = createServer({ pauseOnConnect: true }, (socket) => {
  process.stdout.write(`${JSON.stringify(readCredentials(socket, proof as Proof))}\n`);
  socket.destroy();
});
server.listen(path, () => process.stdout.write('listening\n'));
process.stdin.on('end', () => process.exit(0)).resume();

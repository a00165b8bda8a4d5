// Greets whoever presents the allowed SPIFFE ID.

import { createServer } from 'node:tls';
import { spiffeIdOf, x509Source } from './x509-source.js';

const [address, allowed] = process.argv.slice(2);
if (address === undefined || allowed === undefined) {
  console.error('usage: server.js HOST:PORT ALLOWED_SPIFFE_ID');
  process.exit(1);
}

const source = await x509Source();
const server = createServer({ ...source.options, requestCert: true, handshakeTimeout: 10_000 }, (socket) => {
  socket.on('error', refused);
  try {
    const client = spiffeIdOf(socket.getPeerX509Certificate()?.subjectAltName);
    if (client !== allowed) throw new Error(`unexpected ID ${client}`);
    socket.end(`Hello, ${client}\n`);
    console.log('greeted', client);
  } catch (error) {
    refused(error);
    socket.destroy();
  }
});
server.on('tlsClientError', refused);
// New connections are held against it; sessions of before, and their tickets, end with the context that it replaces.
source.on('update', () => server.setSecureContext(source.options));

const { hostname, port } = new URL(`tcp://${address}`);
server.listen(Number(port), hostname, () => {
  const bound = server.address();
  console.log(`listening on ${hostname}:${typeof bound === 'object' ? bound?.port : bound}`);
});

/** @param {unknown} error */
function refused(error) {
  console.error('refused:', error instanceof Error ? error.message : error);
}

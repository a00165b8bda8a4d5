// Answers nginx' auth_request: may the client with this certificate, which nginx has verified, come in?

import { X509Certificate } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';

const [socket, ...allowed] = process.argv.slice(2);
if (socket === undefined || allowed.length === 0) {
  console.error('usage: authorize.mjs SOCKET ALLOWED_SPIFFE_ID...');
  process.exit(1);
}

const server = createServer((request, response) => {
  const id = spiffeIdOf(request.headers['x-client-cert']);
  if (id !== undefined && allowed.includes(id)) response.setHeader('X-Spiffe-Id', id).writeHead(204).end();
  else response.writeHead(403).end();
});
rmSync(socket, { force: true });
// nginx' workers have a user of their own. Who else asks learns nothing that the certificate does not say.
server.listen({ path: socket, readableAll: true, writableAll: true }, () => console.log('listening on', socket));

/** @param {string | string[] | undefined} escaped PEM, percent-encoded */
function spiffeIdOf(escaped) {
  try {
    const names = new X509Certificate(decodeURIComponent(String(escaped))).subjectAltName ?? '';
    const [id, ...others] = names.split(', ').filter((name) => name.startsWith('URI:'));
    // Node puts names that could be taken for several in quotes. No SVID has such.
    return others.length > 0 || names.includes('"') ? undefined : id?.slice('URI:'.length);
  } catch {
    return undefined;
  }
}

// Calls the server once a second, and prints who answered what.

import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { connect } from 'node:tls';
import { spiffeIdOf, x509Source } from './x509-source.js';

const [address, expected] = process.argv.slice(2);
if (address === undefined || expected === undefined) {
  console.error('usage: client.js HOST:PORT SERVER_SPIFFE_ID');
  process.exit(1);
}

const { hostname, port } = new URL(`tcp://${address}`);
const source = await x509Source();
for (;;) {
  await call();
  await setTimeout(1_000);
}

async function call() {
  const socket = connect({ ...source.options, host: hostname, port: Number(port), checkServerIdentity });
  socket.setTimeout(10_000, () => socket.destroy(new Error('the server does not answer')));
  await once(socket, 'secureConnect');
  const server = spiffeIdOf(socket.getPeerX509Certificate()?.subjectAltName);
  // A server that refuses says so only now: in TLS 1.3 the client is done with the handshake first.
  let greeting = '';
  for await (const text of socket.setEncoding('utf8')) greeting += text;
  if (greeting === '') throw new Error('the server has hung up');
  console.log(`${server}: ${greeting.trim()}`);
}

/**
 * Takes the place of the comparison with a host name.
 *
 * @param {string} _host
 * @param {import('node:tls').PeerCertificate} certificate
 */
function checkServerIdentity(_host, certificate) {
  const server = spiffeIdOf(certificate.subjectaltname);
  return server === expected ? undefined : new Error(`unexpected ID ${server}`);
}

// Holds a connection, as descriptor 3, that a process opened which it outlives. Once that one is gone it asks for an identity on it,
// and says what it got.
import { connect } from 'node:http2';
import { Socket } from 'node:net';
import { status } from '@grpc/grpc-js';
import type { Said } from './workload-said.ts';

const opener = Number(process.argv[2]);
while (process.ppid === opener) {
  await new Promise((resolve) => {
    setTimeout(resolve, 1);
  });
}

const session = connect('http://localhost', { createConnection: () => new Socket({ fd: 3 }) });
session.on('error', () => undefined);
const stream = session.request({
  ':method': 'POST',
  ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
  'content-type': 'application/grpc',
  te: 'trailers',
  'workload.spiffe.io': 'true',
});
const { promise, resolve } = Promise.withResolvers<string>();
stream.on('error', () => undefined);
// A refusal comes as headers alone, or as trailers.
const told = (headers: object) => {
  const code = (headers as Record<string, unknown>)['grpc-status'];
  if (code !== undefined) resolve(status[Number(code)] ?? 'a status that is none');
};
stream.on('response', told);
stream.on('trailers', told);
stream.on('data', () => resolve('an identity'));
stream.on('close', () => resolve('closed'));
stream.end(Buffer.alloc(5));
const said: Said = { event: 'inherited', got: await promise };
process.stdout.write(`${JSON.stringify(said)}\n`);
session.destroy();

import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Agent, entry, TRUST_DOMAIN } from './agent.ts';
import { openSsl } from './consumers.ts';
import { equipped } from './equipment.ts';
import { cell, evidence, quirk } from './evidence/evidence.ts';
import { filesOfTheDead, type IdentityFiles, KeptFiles } from './kept-files.ts';
import { LIBRARIES, Processes } from './libraries.ts';
import { OpensslProcess } from './openssl-process.ts';

const { openssl } = inject('equipment');
const ID = `spiffe://${TRUST_DOMAIN}/service`;
const READY = openssl.kind === 'ready' ? LIBRARIES.filter(({ program }) => program.kind === 'ready') : [];

function credentials(files: IdentityFiles): string[] {
  const own = ['-cert', files.path('svid'), '-cert_chain', files.issuer(), '-key', files.path('key')];
  return [...own, '-verify_return_error', '-CAfile', files.path('bundle'), '-no-CApath', '-no-CAstore'];
}

describe('mTLS between OpenSSL and', () => {
  let agent: Agent;
  let processes: Processes;
  let kept: KeptFiles;
  let dead: IdentityFiles;
  beforeAll(async () => {
    agent = await Agent.start([entry('service')]);
    processes = await Processes.start(agent, READY);
    kept = await KeptFiles.start(agent);
    dead = await filesOfTheDead(agent);
  });
  afterAll(async () => {
    dead[Symbol.dispose]();
    await kept[Symbol.asyncDispose]();
    await processes[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  for (const library of LIBRARIES) {
    const { consumer, program } = library;
    equipped(consumer.name, [openssl, program], () => {
      /** What a server of the library has told an `s_client` with these files. */
      async function told(files: IdentityFiles): Promise<string> {
        const server = processes.of(library);
        const before = server.of('accepted').length;
        const address = await server.ask('listen', { expect: ID });
        const client = new OpensslProcess('s_client', ['-connect', address, '-verify', '2', ...credentials(files)]);
        const [, id = ''] = await client.says(/"id": ?"([^"]+)"/);
        client.process.stdin.end();
        await client.ended;
        expect((await server.event('accepted', before)).value).toBe(ID);
        return id;
      }

      const handshake = evidence(cell(openSsl, 'handshake'));
      it('works with s_client', handshake, async () => {
        expect(await told(kept)).toBe(ID);
      });

      it('works with s_server', handshake, async () => {
        const demand = ['-accept', '127.0.0.1:0', '-naccept', '1', '-Verify', '2'];
        const server = new OpensslProcess('s_server', [...demand, ...credentials(kept)]);
        try {
          const [, address = ''] = await server.says(/^ACCEPT (\S+)$/m);
          // What the servers of the libraries say first.
          server.process.stdin.write(`${JSON.stringify({ id: ID, leaf: '' })}\n`);
          expect(await processes.of(library).ask('dial', { address, expect: ID })).toEqual({ peer: ID, us: ID });
        } finally {
          server.process.kill('SIGKILL');
        }
      });

      const UNREAD =
        'Reads no revocation list: a certificate whose process has ended is accepted until it expires. Keep `x509_svid_ttl` short.';
      it('works with the certificate of a process that has ended', evidence(quirk(consumer, UNREAD)), async () => {
        expect(await told(dead)).toBe(ID);
      });
    });
  }
});

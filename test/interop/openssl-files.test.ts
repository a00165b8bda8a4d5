import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, it, vi } from 'vitest';
import { Agent, entry } from './agent.ts';
import { openSsl } from './consumers.ts';
import { equipped } from './equipment.ts';
import { cell, duration, evidence, quirk } from './evidence/evidence.ts';
import { filesOfTheDead, type IdentityFiles, KeptFiles } from './kept-files.ts';
import { OpensslProcess, tell } from './openssl-process.ts';

const { openssl } = inject('equipment');
const PATIENCE = { timeout: 20_000, interval: 50 };

/** What OpenSSL says of a leaf, by the roots and the lists that `kept` has. */
function verdict(kept: IdentityFiles, files: IdentityFiles): Promise<string> {
  const lists = ['-crl_check_all', '-CRLfile', kept.path('crl')];
  const roots = ['-x509_strict', '-no-CApath', '-no-CAstore', '-CAfile', kept.path('bundle')];
  return tell('verify', ...roots, ...lists, '-untrusted', files.path('svid'), files.path('svid'));
}

equipped('OpenSSL with the files of mayfly watch --write', [openssl], () => {
  it('verifies what each rotation has written', evidence(cell(openSsl, 'rotation')), async () => {
    await using agent = await Agent.start([entry('brief', { x509_svid_ttl: '10s' })]);
    await using kept = await KeptFiles.start(agent);
    const serials = new Set([kept.serial()]);
    for (const count of [2, 3]) {
      await vi.waitFor(() => expect(serials.add(kept.serial()).size).toBe(count), PATIENCE);
      expect(await verdict(kept, kept)).toContain(': OK\n');
    }
    expect(serials.has(undefined)).toBe(false);
  });

  it('has no files without an entry', evidence(cell(openSsl, 'withdrawal', 'the files are removed')), async () => {
    await using agent = await Agent.start([entry('first')]);
    await using kept = await KeptFiles.start(agent);
    const before = kept.serial();
    agent.setEntries([]);
    await vi.waitFor(() => {
      for (const name of ['svid', 'key', 'bundle', 'crl'] as const) expect(existsSync(kept.path(name))).toBe(false);
    }, PATIENCE);
    agent.setEntries([entry('first')]);
    await vi.waitFor(() => expect(kept.serial()).toBeTypeOf('string'), PATIENCE);
    expect(kept.serial()).not.toBe(before);
  });

  const STOPPED = [cell(openSsl, 'stopped', 'goes on with what it has'), duration(openSsl, 'restart')];
  it(
    'keeps the files while the agent is away, and has new ones when it is back',
    evidence(...STOPPED),
    async ({ task }) => {
      await using agent = await Agent.start([entry('first')]);
      await using kept = await KeptFiles.start(agent);
      const before = kept.serial();
      await agent.end('SIGTERM');
      expect(kept.serial()).toBe(before);
      expect(await verdict(kept, kept)).toContain(': OK\n');

      await agent.start();
      const back = performance.now();
      await vi.waitFor(() => expect(kept.serial()).not.toBe(before), PATIENCE);
      task.meta.tookMs = performance.now() - back;
      expect(await verdict(kept, kept)).toContain(': OK\n');
    },
  );

  const LISTS =
    'Reads lists only where it is told to (`-crl_check_all`), and then wants one of every CA of the chain: `crl.pem` has them all, but `-CRL` of `s_server` reads the first alone. Put them behind the roots, in the file of `-CAfile`.';
  const REVOCATION = evidence(cell(openSsl, 'revocation', 'refuses the dead'), quirk(openSsl, LISTS));
  it('refuses a certificate whose process has ended', REVOCATION, async () => {
    await using agent = await Agent.start([entry('first')]);
    await using kept = await KeptFiles.start(agent);
    using dead = await filesOfTheDead(agent);
    await vi.waitFor(async () => {
      await expect(verdict(kept, dead)).rejects.toMatchObject({
        stderr: expect.stringContaining('certificate revoked'),
      });
    }, PATIENCE);
    expect(await verdict(kept, kept)).toContain(': OK\n');

    // `-CRL` reads one list of a file; behind the roots all are read.
    const trust = join(kept.directory, 'trust.pem');
    writeFileSync(trust, ['bundle', 'crl'].map((name) => readFileSync(join(kept.directory, `${name}.pem`))).join(''));
    const checked = ['-crl_check_all', '-CAfile', trust];
    expect(await greeted(kept, kept, checked)).toBe(true);
    expect(await greeted(kept, dead, checked)).toBe(false);
    // Without the lists it works as long as it has not expired.
    expect(await greeted(kept, dead, ['-CAfile', kept.path('bundle')])).toBe(true);
  });
});

/** Whether an `s_server` with the files of `server`, and this trust, lets in an `s_client` with those of `client`. */
async function greeted(server: IdentityFiles, client: IdentityFiles, trust: readonly string[]): Promise<boolean> {
  const demand = ['-accept', '127.0.0.1:0', '-naccept', '1', '-Verify', '2', '-verify_return_error', ...trust];
  const listening = new OpensslProcess('s_server', [...demand, ...credentials(server)]);
  try {
    const [, address = ''] = await listening.says(/^ACCEPT (\S+)$/m);
    const own = [...credentials(client), '-CAfile', server.path('bundle')];
    const dialling = new OpensslProcess('s_client', ['-connect', address, ...own]);
    dialling.process.stdin.end('hello from the client\n');
    await Promise.all([dialling.ended, listening.ended]);
    return listening.output.includes('hello from the client');
  } finally {
    listening.process.kill('SIGKILL');
  }
}

function credentials(files: IdentityFiles): string[] {
  const own = ['-cert', files.path('svid'), '-cert_chain', files.issuer(), '-key', files.path('key')];
  return [...own, '-no-CApath', '-no-CAstore'];
}

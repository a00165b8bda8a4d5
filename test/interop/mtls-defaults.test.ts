import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { Agent, entry, TRUST_DOMAIN } from './agent.ts';
import { Client } from './client.ts';
import { javaSpiffe, pySpiffe, rustSpiffe } from './consumers.ts';
import { equipped } from './equipment.ts';
import { evidence, quirk } from './evidence/evidence.ts';
import { GO, JAVA, Processes, PYTHON, RUST } from './libraries.ts';

const ID = `spiffe://${TRUST_DOMAIN}/service`;
const ROTATION = { timeout: 20_000, interval: 100 };
const TICKETLESS = { JDK_JAVA_OPTIONS: '-Djdk.tls.server.enableSessionTicketExtension=false' };
const NEEDED = [GO, JAVA, PYTHON, RUST];

// What the other files do not do, since a user should not either.
const programs = NEEDED.map(({ program }) => program);
equipped('mTLS as a library does it by default', programs, () => {
  let agent: Agent;
  let processes: Processes;
  beforeAll(async () => {
    agent = await Agent.start([entry('service', { x509_svid_ttl: '10s' })]);
    processes = await Processes.start(agent, NEEDED);
  });
  afterAll(async () => {
    await processes[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  async function rotated(client: Client, leaf: string | undefined): Promise<void> {
    await vi.waitFor(async () => expect((await client.ask('source')).chain[0]).not.toBe(leaf), ROTATION);
  }

  const TLS12 =
    'A context of `SpiffeSslContextFactory` speaks TLS 1.2 as a client, unless it is made with `sslProtocol("TLSv1.3")`: say so.';
  const TLS13 =
    '`spiffe-rustls` speaks TLS 1.3 alone as it is built by default, without the feature `tls12` of `rustls`: a client that stays at 1.2 is refused.';
  it('is TLS 1.2 with java-spiffe', evidence(quirk(javaSpiffe, TLS12), quirk(rustSpiffe, TLS13)), async () => {
    const [go, java, rust] = [processes.of(GO), processes.of(JAVA), processes.of(RUST)];
    const address = await go.ask('listen', { expect: ID });
    expect((await java.ask('open', { address, expect: ID, defaults: true })).tls).toBe('TLSv1.2');
    const modern = await rust.ask('listen', { expect: ID });
    await expect(java.ask('open', { address: modern, expect: ID, defaults: true })).rejects.toThrow('protocol_version');
    expect((await java.ask('open', { address: modern, expect: ID })).tls).toBe('TLSv1.3');
  });

  const RESUMES =
    'Java resumes sessions, and what is resumed is not verified again: a rotation is not seen. As a client make a context for each connection. A server needs `context.getServerSessionContext().setSessionTimeout(1)`, which does nothing alone, and `-Djdk.tls.server.enableSessionTicketExtension=false`.';
  it('goes on with the certificates of before with java-spiffe', evidence(quirk(javaSpiffe, RESUMES)), async () => {
    const java = processes.of(JAVA);
    await using ticketless = Client.start(JAVA.program, agent.socket, { env: TICKETLESS });
    await ticketless.ask('watch');
    const address = await java.ask('listen', { expect: ID, defaults: true });
    const brief = await java.ask('listen', { expect: ID });
    const strict = await ticketless.ask('listen', { expect: ID });
    const ways = [address, brief, strict].map((at) => ({ address: at, expect: ID, defaults: true }));

    const before = await Promise.all(ways.map((way) => java.ask('open', way)));
    // A rotation may have come between them.
    for (const { us } of before) await rotated(java, us.leaf);
    await rotated(ticketless, before[2]?.peer.leaf);
    const [resumed, resumedSoon, verified] = await Promise.all(ways.map((way) => java.ask('open', way)));
    expect(resumed).toEqual(before[0]);
    expect(resumedSoon).toEqual(before[1]);
    expect(verified?.peer.leaf).not.toBe(before[2]?.peer.leaf);
    expect(verified?.us.leaf).not.toBe(before[2]?.us.leaf);
    const anew = await java.ask('open', { address, expect: ID });
    expect(anew.peer.leaf).not.toBe(before[0]?.peer.leaf);
    expect(anew.us.leaf).not.toBe(before[0]?.us.leaf);
  });

  const STALE =
    'A server of `spiffetls.listen` goes on with the certificate of its start after a rotation: pyOpenSSL 26 does not change a context that is in use. Make a context for each connection, with the `ssl` module or `spiffetls.context.create_ssl_context`.';
  it('has the certificate of its start for ever with py-spiffe', evidence(quirk(pySpiffe, STALE)), async () => {
    const [go, python] = [processes.of(GO), processes.of(PYTHON)];
    const address = await python.ask('listen', { expect: ID, defaults: true });
    const before = await go.ask('open', { address, expect: ID });
    await rotated(python, before.peer.leaf);
    expect((await go.ask('open', { address, expect: ID })).peer.leaf).toBe(before.peer.leaf);
  });

  const UNNAMED =
    'A server of `spiffetls.listen` breaks off the handshake of a client that resumes a session, as Java does: OpenSSL wants a session id context, which is not set.';
  it('fails a session that is resumed with py-spiffe', evidence(quirk(pySpiffe, UNNAMED)), async () => {
    const [java, python] = [processes.of(JAVA), processes.of(PYTHON)];
    const address = await python.ask('listen', { expect: ID, defaults: true });
    const asked = { address, expect: ID, defaults: true };
    await java.ask('open', asked);
    await expect(java.ask('open', asked)).rejects.toThrow('internal_error');
    expect((await python.event('refused', 0)).value).toContain('session id context uninitialized');
    const { peer } = await java.ask('open', { address, expect: ID });
    expect(peer.id).toBe(ID);
  });
});

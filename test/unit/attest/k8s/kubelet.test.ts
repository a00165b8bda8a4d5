import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AnswerSink } from '../../../../agent/attest/http-answer.ts';
import { Kubelet } from '../../../../agent/attest/k8s/kubelet.ts';
import type { KubeletOptions } from '../../../../agent/attest/k8s/kubelet-options.ts';
import { PodItems } from '../../../../agent/attest/k8s/pod-items.ts';
import { type Clock, SystemClock } from '../../../../agent/kernel/clock.ts';
import { ClusterCa, type KubeletTerms, TestKubelet } from '../../../support/kubelet.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { podListJson } from '../../../support/pods.ts';

const ENDLESS = new AbortController().signal;

let folder: string;
const closing: (() => Promise<void> | void)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-kubelet-'));
});

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
  rmSync(folder, { recursive: true });
});

async function start(terms: Partial<KubeletTerms> = {}): Promise<TestKubelet> {
  const kubelet = await TestKubelet.start({ folder, ...terms });
  closing.push(() => kubelet.stop());
  return kubelet;
}

function client(options: KubeletOptions, env: NodeJS.ProcessEnv = {}, clock: Clock = new SystemClock()): Kubelet {
  const made = new Kubelet(options, env, clock);
  closing.push(() => made.close());
  return made;
}

/** What a list is taken into, and how many pods it had. */
function sink(): AnswerSink & { pods: number } {
  const items = new PodItems(() => (made.pods += 1));
  const made = { pods: 0, push: (chunk: Buffer) => items.push(chunk), end: () => void items.end() };
  return made;
}

async function failure(from: Kubelet): Promise<string> {
  const error: unknown = await from.read(sink(), ENDLESS).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof Error ? error.message : 'it was read';
}

describe('the kubelet', () => {
  it('is asked with the token of now, over one connection, held to its name', async () => {
    const kubelet = await start();
    kubelet.list({ uid: 'u1' }, { uid: 'u2' });
    const from = client(kubelet.options);
    const first = sink();
    const connection = await from.read(first, ENDLESS);
    expect(first.pods).toBe(2);
    // A service account's token is replaced under the agent.
    kubelet.token = 'token-2';
    expect(await failure(from)).toMatch(/^the kubelet at localhost:\d+ does not know the agent \(401\)/);
    writeFileSync(kubelet.options.tokenPath, 'token-2\n');
    expect(await from.read(sink(), ENDLESS)).not.toBe(connection);
    expect(await from.read(sink(), ENDLESS)).toBe(await from.read(sink(), ENDLESS));
  });

  it('is shown a client certificate where there is one, and no token', async () => {
    const kubelet = await start();
    const { cert, key } = kubelet.ca.issue('agent');
    writeFileSync(join(folder, 'client.pem'), `${cert}${key}`);
    rmSync(kubelet.options.tokenPath);
    let authorization: string | undefined = 'nothing asked';
    kubelet.answer = ({ headers }, response) => {
      authorization = headers.authorization;
      response.end(podListJson([]));
    };
    const path = join(folder, 'client.pem');
    await client({ ...kubelet.options, certificatePath: path, privateKeyPath: path }).read(sink(), ENDLESS);
    expect(authorization).toBeUndefined();
    expect(await failure(client(kubelet.options))).toContain('attestors.k8s.token_path cannot be read: ENOENT');
  });

  it('is held to the signer, and shown the certificate, that the files have now', async () => {
    const first = await TestKubelet.start({ folder });
    const path = join(folder, 'client.pem');
    const shown = (ca: ClusterCa): void => {
      const { cert, key } = ca.issue('agent');
      writeFileSync(path, `${cert}${key}`);
    };
    shown(first.ca);
    const from = client({ ...first.options, certificatePath: path, privateKeyPath: path });
    await from.read(sink(), ENDLESS);
    await first.stop();
    // Another signer from now on, whose certificate the file is given.
    const second = await start({ port: first.port });
    expect(await failure(from)).toContain('does not know the agent (401)');
    shown(second.ca);
    await from.read(sink(), ENDLESS);
    expect(second.requests).toBe(2);
  });

  it('has its name from the environment, or is asked on this machine and held to its signer alone', async () => {
    const kubelet = await start({ host: 'node-1.internal' });
    const options = { ...kubelet.options, nodeName: '' };
    expect(await failure(client(options, { MY_NODE_NAME: 'localhost' }))).toContain(
      'shows a certificate of another host',
    );
    await client(options).read(sink(), ENDLESS);
    expect(kubelet.requests).toBe(1);
  });

  it.each([
    [
      'of another signer',
      { ca: new ClusterCa() },
      'shows a certificate that attestors.k8s.kubelet_ca_path has not signed',
    ],
    ['of another node', { host: 'node-2' }, 'shows a certificate of another host'],
    ['that has expired', { notAfter: Date.now() - 60_000 }, 'shows a certificate that has expired'],
  ])('with a certificate %s is sent no token', async (which, terms, message) => {
    const kubelet = await start(terms);
    if (which === 'of another signer') writeFileSync(kubelet.options.kubeletCaPath, new ClusterCa().pem);
    expect(await failure(client(kubelet.options))).toContain(message);
    expect(kubelet.requests).toBe(0);
    await client({ ...kubelet.options, skipKubeletVerification: true }).read(sink(), ENDLESS);
  });

  it('is held to its certificate where that itself is given, as one that nobody else has signed', async () => {
    const kubelet = await start();
    writeFileSync(kubelet.options.kubeletCaPath, kubelet.certificate);
    await client(kubelet.options).read(sink(), ENDLESS);
    const other = await start({ ca: kubelet.ca });
    writeFileSync(kubelet.options.kubeletCaPath, kubelet.certificate);
    expect(await failure(client({ ...kubelet.options, kubeletSecurePort: other.port }))).toContain('has not signed');
    expect(other.requests).toBe(0);
  });

  it.each([
    [403, /does not let the agent list pods \(403\): its role needs get on nodes\/pods/],
    [500, /answers with status 500$/],
  ])('that answers with status %d is told so', async (status, message) => {
    const kubelet = await start();
    kubelet.answer = (_, response) => response.writeHead(status).end('{}');
    expect(await failure(client(kubelet.options))).toMatch(message);
  });

  it.each([
    ['rubbish', 'Hello', 'answers with no list of pods: it is no JSON'],
    ['nothing', '', 'answers with no list of pods: it is no JSON'],
    ['another object', '{"kind":"Status"}', 'answers with no list of pods: it is JSON, and no PodList'],
    ['half of it', podListJson(['{}', '{}']).slice(0, -8), 'answers with no list of pods: it ends in the middle'],
  ])('that answers with %s has not answered', async (_, text, message) => {
    const kubelet = await start();
    kubelet.answer = (_request, response) => response.end(text);
    expect(await failure(client(kubelet.options))).toContain(message);
  });

  it('that breaks off has not answered', async () => {
    const kubelet = await start();
    kubelet.answer = (_, response) => {
      response.write('{"kind":"PodList","items":[');
      setTimeout(() => response.destroy(), 20);
    };
    expect(await failure(client(kubelet.options))).toContain('cannot be asked: ');
  });

  it('is not listened to for 100 MB, said ahead or not', async () => {
    const kubelet = await start();
    const from = client({ ...kubelet.options, maxAnswerSize: 1024 ** 2 });
    kubelet.answer = (_, response) => response.writeHead(200, { 'content-length': 100_000_000 }).write('{');
    expect(await failure(from)).toContain('answers with more than 1048576 bytes, see attestors.k8s.max_answer_size');
    let sent = 0;
    kubelet.answer = (_, response) => {
      const megabyte = Buffer.alloc(1024 ** 2, `{"a":"${'b'.repeat(1015)}"},`);
      const more = (): void => {
        if (response.destroyed || sent >= 100) return;
        sent += 1;
        response.write(megabyte, () => setImmediate(more));
      };
      response.write('{"kind":"PodList","items":[', more);
    };
    expect(await failure(from)).toContain('answers with more than 1048576 bytes');
    expect(sent).toBeLessThan(50);
  });

  it('that is slow is given up, and one that is not there told so', async () => {
    const kubelet = await start();
    kubelet.answer = () => undefined;
    const clock = new ManualClock();
    const from = client(kubelet.options, {}, clock);
    const failed = failure(from);
    while (kubelet.requests === 0) await new Promise(setImmediate);
    clock.advance(10_000);
    expect(await failed).toMatch(/has not answered within 10000 ms$/);
    expect(clock.alarms).toBe(0);
    await kubelet.stop();
    expect(await failure(client(kubelet.options))).toContain('does not listen');
  });

  it('has a port without TLS, where no credentials are sent', async () => {
    let headers: unknown;
    const server = createPlainServer((request, response) => {
      ({ headers } = request);
      response.end(podListJson(['{}']));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => void server.close());
    const kubelet = await start();
    const { port } = server.address() as AddressInfo;
    const read = sink();
    await client({ ...kubelet.options, kubeletReadOnlyPort: port }).read(read, ENDLESS);
    expect(read.pods).toBe(1);
    expect(headers).not.toHaveProperty('authorization');
    expect(kubelet.requests).toBe(0);
  });
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ApiServer } from '../../../../agent/attest/k8s/api-server.ts';
import { Refusal } from '../../../../agent/attest/k8s/endpoint.ts';
import { SystemClock } from '../../../../agent/kernel/clock.ts';
import { ClusterCa } from '../../../support/kubelet.ts';

const ENDLESS = new AbortController().signal;
const clock = new SystemClock();

let serviceAccount: string;
let server: Server;
let asked: ApiServer;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
const requests: { readonly url: string | undefined; readonly authorization: string | undefined }[] = [];

beforeEach(async () => {
  serviceAccount = mkdtempSync(join(tmpdir(), 'mayfly-service-account-'));
  const ca = new ClusterCa();
  writeFileSync(join(serviceAccount, 'ca.crt'), ca.pem);
  writeFileSync(join(serviceAccount, 'token'), 'token-1\n');
  requests.length = 0;
  server = createServer(ca.issue('localhost'), (request, response) => {
    requests.push({ url: request.url, authorization: request.headers.authorization });
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  asked = apiServer('localhost');
});

afterEach(() => {
  asked.close();
  server.closeAllConnections();
  server.close();
  rmSync(serviceAccount, { recursive: true });
});

function apiServer(host: string): ApiServer {
  const { port } = server.address() as AddressInfo;
  const environment = { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: String(port) };
  return new ApiServer(environment, { serviceAccount, clock });
}

function answerWith(object: unknown, status = 200): void {
  answer = (_, response) => response.writeHead(status).end(JSON.stringify(object));
}

async function failure(of = asked): Promise<Error> {
  const error: unknown = await of.labels('shop', ENDLESS).then(
    () => new Error('it was answered'),
    (reason: unknown) => reason,
  );
  return error instanceof Error ? error : new Error(String(error));
}

it('says the labels of a namespace to who shows the token of now', async () => {
  answerWith({ kind: 'Namespace', metadata: { name: 'shop', labels: { team: 'pay', prototype: '' } } });
  expect(await asked.labels('shop', ENDLESS)).toEqual({ team: 'pay', prototype: '' });
  writeFileSync(join(serviceAccount, 'token'), 'token-2\n');
  await asked.labels('shop', ENDLESS);
  expect(requests).toEqual([
    { url: '/api/v1/namespaces/shop', authorization: 'Bearer token-1' },
    { url: '/api/v1/namespaces/shop', authorization: 'Bearer token-2' },
  ]);
});

it('says of a namespace without labels that it has none', async () => {
  answerWith({ kind: 'Namespace', metadata: { name: 'shop' } });
  expect(await asked.labels('shop', ENDLESS)).toEqual({});
});

it.each([
  [401, 'does not know the agent (401)'],
  [403, 'its role needs get on namespaces'],
  [404, 'knows no such namespace (404)'],
])('that answers with %d has refused', async (status, message) => {
  answerWith({ kind: 'Status' }, status);
  const error = await failure();
  expect(error).toBeInstanceOf(Refusal);
  expect(error.message).toMatch(/^the API server at localhost:\d+ /);
  expect(error.message).toContain(message);
});

it.each([
  ['another namespace', { kind: 'Namespace', metadata: { name: 'kube-system', labels: { team: 'pay' } } }],
  ['something else', { kind: 'PodList', items: [] }],
  ['labels that are none', { kind: 'Namespace', metadata: { name: 'shop', labels: { team: 1 } } }],
  ['nothing', ''],
])('that answers with %s has refused', async (_, object) => {
  answerWith(object);
  const error = await failure();
  expect(error).toBeInstanceOf(Refusal);
  expect(error.message).toBe('the API server answers with something else than namespace shop');
});

it('that answers with no JSON has refused', async () => {
  answer = (_, response) => response.end('<html>');
  expect(await failure()).toBeInstanceOf(Refusal);
});

it('is not listened to for 100 MB', async () => {
  answer = (_, response) => response.writeHead(200, { 'content-length': 100_000_000 }).write('{');
  expect((await failure()).message).toContain('answers with more than 4194304 bytes');
});

it('is shown no token under another name, or with another signer', async () => {
  answerWith({ kind: 'Namespace', metadata: { name: 'shop' } });
  const other = apiServer('127.0.0.1');
  expect((await failure(other)).message).toContain('shows a certificate of another host');
  other.close();
  writeFileSync(join(serviceAccount, 'ca.crt'), new ClusterCa().pem);
  const error = await failure();
  expect(error.message).toContain("shows a certificate that the cluster's CA has not signed");
  expect(error).not.toBeInstanceOf(Refusal);
  expect(requests).toEqual([]);
});

it('has to be told by the environment, as it is in every pod', () => {
  const made = () => new ApiServer({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, { serviceAccount, clock });
  expect(made).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }) as Error);
});

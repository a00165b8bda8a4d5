import { join } from 'node:path';
import * as v from 'valibot';
import type { Clock } from '../../kernel/clock.ts';
import { MayflyError } from '../../kernel/errors.ts';
import { TextSink } from '../http-answer.ts';
import { namedTexts } from '../named-texts.ts';
import { Endpoint, Refusal } from './endpoint.ts';

/** Whoever knows the namespaces of the cluster. */
export interface NamespaceSource {
  /**
   * The labels of a namespace.
   *
   * @throws Refusal when there is no such namespace, or nothing may be said of it; Error when there was no answer: a sentence
   */
  labels(namespace: string, signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  close(): void;
}

/** Where a pod has what it shows the API server, and what it holds it to. */
export const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

export interface ApiServerOptions {
  /** The folder with the `ca.crt` and the `token` of a service account. */
  readonly serviceAccount: string;
  readonly clock: Clock;
}

// What a caller waits for at most, within what the runner gives an attestor.
const ANSWER_MS = 2000;
const MOST_BYTES = 4 * 1024 ** 2;
const REFUSALS: Readonly<Record<number, string>> = {
  401: 'does not know the agent (401): its token is not accepted',
  403: 'does not let the agent read a namespace (403): its role needs get on namespaces',
  404: 'knows no such namespace (404)',
};

const namespaceText = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    kind: v.literal('Namespace'),
    metadata: v.object({ name: v.string(), labels: v.nullish(namedTexts, {}) }),
  }),
);

/** The API server of the cluster, asked as any pod may ask it. */
export class ApiServer implements NamespaceSource {
  readonly #endpoint: Endpoint;

  /** @throws MayflyError `INVALID_CONFIG` when the environment does not say where it is, as it does in every pod */
  constructor(environment: NodeJS.ProcessEnv, { clock, serviceAccount }: ApiServerOptions) {
    const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '' } = environment;
    if (host === '' || port === '') {
      throw new MayflyError(
        'INVALID_CONFIG',
        'attestors.k8s.enable_namespace_labels takes an API server, and KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not say where one is, as they do in every pod',
      );
    }
    this.#endpoint = new Endpoint({
      name: 'the API server',
      address: { secure: true, host, port: Number(port), named: true },
      files: {
        ca: { name: "the cluster's CA", path: join(serviceAccount, 'ca.crt') },
        proof: { kind: 'token', token: { name: "the service account's token", path: join(serviceAccount, 'token') } },
      },
      wanted: 'namespace',
      refusals: REFUSALS,
      deadline: ANSWER_MS,
      maxAnswerSize: MOST_BYTES,
      clock,
    });
  }

  async labels(namespace: string, signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const sink = new TextSink();
    await this.#endpoint.get(`/api/v1/namespaces/${encodeURIComponent(namespace)}`, sink, signal);
    const parsed = v.safeParse(namespaceText, sink.text);
    if (!parsed.success || parsed.output.metadata.name !== namespace) {
      throw new Refusal(`the API server answers with something else than namespace ${namespace}`);
    }
    return parsed.output.metadata.labels;
  }

  close(): void {
    this.#endpoint.close();
  }
}

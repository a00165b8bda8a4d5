import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { Clock } from '../../kernel/clock.ts';
import { messageOf, systemCodeOf } from '../../kernel/errors.ts';
import { KubeletCredentials } from './credentials.ts';
import { type KubeletOptions, type KubeletPlace, kubeletPlace } from './kubelet-options.ts';

/** Takes an answer in while it arrives. Throws where it is not what was asked for. */
export interface AnswerSink {
  push(chunk: Buffer): void;
  end(): void;
}

/** Whoever has the list of this node's pods. */
export interface PodSource {
  /**
   * Asks for the list, once.
   *
   * @returns what is another object whenever somebody else may have answered: after a restart of the kubelet it always is
   * @throws Error, a sentence that names the kubelet; what was handed on by then is worth nothing
   */
  read(sink: AnswerSink, signal: AbortSignal): Promise<object>;
  close(): void;
}

// A kubelet with much to do takes its time; one that takes longer would never be up to date.
const ANSWER_MS = 10_000;
const REFUSALS: Readonly<Record<number, string>> = {
  401: 'does not know the agent (401): its credentials are not accepted, or webhook authentication is off',
  403: 'does not let the agent list pods (403): its role needs get on nodes/pods, or on nodes/proxy before Kubernetes 1.33',
};
const TLS_TEXTS: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'shows a certificate that attestors.k8s.kubelet_ca_path has not signed',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'shows a certificate that attestors.k8s.kubelet_ca_path has not signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'shows a certificate that attestors.k8s.kubelet_ca_path has not signed',
  DEPTH_ZERO_SELF_SIGNED_CERT:
    'shows a certificate that it has signed itself and that is not in attestors.k8s.kubelet_ca_path',
  CERT_SIGNATURE_FAILURE: 'shows a certificate that attestors.k8s.kubelet_ca_path has not signed',
  CERT_HAS_EXPIRED: 'shows a certificate that has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'shows a certificate of another node',
  ECONNREFUSED: 'does not listen',
};

/** The kubelet of this node, over HTTP. It alone speaks to it, one request at a time. */
export class Kubelet implements PodSource {
  readonly #place: KubeletPlace;
  readonly #credentials: KubeletCredentials;
  readonly #maxAnswerSize: number;
  readonly #clock: Clock;

  constructor(options: KubeletOptions, environment: NodeJS.ProcessEnv, clock: Clock) {
    this.#place = kubeletPlace(options, environment);
    this.#credentials = new KubeletCredentials(this.#place, options);
    this.#maxAnswerSize = options.maxAnswerSize;
    this.#clock = clock;
  }

  async read(sink: AnswerSink, signal: AbortSignal): Promise<object> {
    const abort = new AbortController();
    const stop = (): void => abort.abort();
    const alarm = this.#clock.after(ANSWER_MS, stop);
    signal.addEventListener('abort', stop, { once: true });
    try {
      signal.throwIfAborted();
      return await this.#ask(sink, abort.signal);
    } catch (error) {
      throw new Error(this.#textOf(error, abort.signal), { cause: error });
    } finally {
      alarm.cancel();
      signal.removeEventListener('abort', stop);
    }
  }

  close(): void {
    this.#credentials.close();
  }

  async #ask(sink: AnswerSink, signal: AbortSignal): Promise<object> {
    try {
      return await this.#answer(await this.#send(signal), sink);
    } catch (error) {
      // A connection that was kept too long says nothing of the kubelet, and nothing was read over it.
      if (!(error instanceof StaleConnection)) throw error;
      return await this.#answer(await this.#send(signal), sink);
    }
  }

  async #send(signal: AbortSignal): Promise<{ readonly response: IncomingMessage; readonly socket: Socket }> {
    const { agent, authorization } = await this.#credentials.current();
    const { secure, host, port } = this.#place;
    const headers = { accept: 'application/json', ...(authorization !== undefined && { authorization }) };
    const options = { agent, headers, host, port, path: '/pods', signal };
    const request: ClientRequest = secure ? httpsRequest(options) : httpRequest(options);
    request.end();
    try {
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      return { response, socket: response.socket };
    } catch (error) {
      if (request.reusedSocket && systemCodeOf(error) === 'ECONNRESET') throw new StaleConnection();
      throw error;
    }
  }

  async #answer(
    { response, socket }: { readonly response: IncomingMessage; readonly socket: Socket },
    sink: AnswerSink,
  ): Promise<object> {
    try {
      const { statusCode = 0 } = response;
      if (statusCode !== 200) throw new Refusal(REFUSALS[statusCode] ?? `answers with status ${statusCode}`);
      let bytes = Number(response.headers['content-length'] ?? 0);
      if (bytes > this.#maxAnswerSize) throw this.#tooLarge();
      bytes = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > this.#maxAnswerSize) throw this.#tooLarge();
        taken(() => sink.push(chunk));
      }
      taken(() => sink.end());
      return socket;
    } finally {
      // Of an answer that was not read to its end the rest is not wanted.
      if (!response.readableEnded) response.destroy();
    }
  }

  #tooLarge(): Refusal {
    return new Refusal(`answers with more than ${this.#maxAnswerSize} bytes, see attestors.k8s.max_answer_size`);
  }

  #textOf(error: unknown, { aborted }: AbortSignal): string {
    const at = `the kubelet at ${this.#place.host}:${this.#place.port}`;
    if (aborted) return `${at} has not answered within ${ANSWER_MS} ms`;
    if (error instanceof Refusal) return `${at} ${error.message}`;
    const text = TLS_TEXTS[systemCodeOf(error) ?? ''];
    return `${at} ${text === undefined ? 'cannot be asked' : text}: ${messageOf(error)}`;
  }
}

function taken(take: () => void): void {
  try {
    take();
  } catch (error) {
    throw new Refusal(`answers with no list of pods: ${messageOf(error)}`, { cause: error });
  }
}

/** An answer that is one, and not the list. */
class Refusal extends Error {}

class StaleConnection extends Error {}

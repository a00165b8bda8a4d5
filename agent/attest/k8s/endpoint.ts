import type { Clock } from '../../kernel/clock.ts';
import { messageOf, systemCodeOf } from '../../kernel/errors.ts';
import { within } from '../deadline.ts';
import { type AnswerSink, AnswerTooLarge, answerTo, readAnswer } from '../http-answer.ts';
import { type Address, type CredentialFiles, Credentials } from './credentials.ts';

export interface EndpointTerms {
  /** Who it is, in a sentence: `the kubelet`. */
  readonly name: string;
  readonly address: Address;
  readonly files: CredentialFiles;
  /** What is asked for, in a sentence: `list of pods`. */
  readonly wanted: string;
  /** What an answer with this status means, as the end of a sentence. */
  readonly refusals: Readonly<Record<number, string>>;
  /** How long an answer may take until it is complete, in milliseconds. */
  readonly deadline: number;
  /** The largest answer that is read, in bytes. */
  readonly maxAnswerSize: number;
  /** The key that says so, where there is one. */
  readonly maxAnswerSizeKey?: string;
  readonly clock: Clock;
}

/** He who was asked has answered, and not with what he was asked for: what was known before says nothing against that. */
export class Refusal extends Error {}

/** Whoever of Kubernetes is asked over HTTP, one request at a time. */
export class Endpoint {
  readonly #terms: EndpointTerms;
  readonly #credentials: Credentials;

  constructor(terms: EndpointTerms) {
    this.#terms = terms;
    this.#credentials = new Credentials(terms.address, terms.files);
  }

  /**
   * Asks once.
   *
   * @returns the connection that it was answered over
   * @throws Refusal, or Error when there was no answer: a sentence that says who was asked; what was handed on by then is worth nothing
   */
  async get(path: string, sink: AnswerSink, signal: AbortSignal): Promise<object> {
    const { address, clock, deadline, name } = this.#terms;
    const at = `${name} at ${address.host}:${address.port}`;
    return await within(deadline, clock, signal, async (either) => {
      try {
        return await this.#ask(path, sink, either);
      } catch (error) {
        if (error instanceof Refusal) throw new Refusal(`${at} ${error.message}`, { cause: error });
        const text = either.aborted ? `has not answered within ${deadline} ms` : this.#textOf(error);
        throw new Error(`${at} ${text}`, { cause: error });
      }
    });
  }

  close(): void {
    this.#credentials.close();
  }

  async #ask(path: string, sink: AnswerSink, signal: AbortSignal): Promise<object> {
    const { address, maxAnswerSize, maxAnswerSizeKey, refusals, wanted } = this.#terms;
    signal.throwIfAborted();
    const { agent, authorization } = await this.#credentials.current();
    const { host, port, secure } = address;
    const headers = { accept: 'application/json', ...(authorization !== undefined && { authorization }) };
    const response = await answerTo({ agent, headers, host, port, path, signal }, { secure });
    // Later it has none any more.
    const { socket, statusCode = 0 } = response;
    if (statusCode !== 200) {
      response.destroy();
      throw new Refusal(refusals[statusCode] ?? `answers with status ${statusCode}`);
    }
    try {
      await readAnswer(response, maxAnswerSize, refusing(sink, wanted));
    } catch (error) {
      if (!(error instanceof AnswerTooLarge)) throw error;
      const hint = maxAnswerSizeKey === undefined ? '' : `, see ${maxAnswerSizeKey}`;
      throw new Refusal(`${error.message}${hint}`, { cause: error });
    }
    return socket;
  }

  #textOf(error: unknown): string {
    const code = systemCodeOf(error);
    const text = code === undefined ? undefined : textOfCode(code, this.#terms.files.ca?.name ?? '');
    return `${text ?? 'cannot be asked'}: ${messageOf(error)}`;
  }
}

/** Whoever takes the answer in says whether it is what was asked for. */
function refusing(sink: AnswerSink, wanted: string): AnswerSink {
  const or = (take: () => void): void => {
    try {
      take();
    } catch (error) {
      throw new Refusal(`answers with no ${wanted}: ${messageOf(error)}`, { cause: error });
    }
  };
  return { push: (chunk) => or(() => sink.push(chunk)), end: () => or(() => sink.end()) };
}

function textOfCode(code: string, ca: string): string | undefined {
  switch (code) {
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'CERT_SIGNATURE_FAILURE':
      return `shows a certificate that ${ca} has not signed`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return `shows a certificate that it has signed itself and that is not in ${ca}`;
    case 'CERT_HAS_EXPIRED':
      return 'shows a certificate that has expired';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return 'shows a certificate of another host';
    case 'ECONNREFUSED':
      return 'does not listen';
    default:
      return undefined;
  }
}

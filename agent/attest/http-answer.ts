import { once } from 'node:events';
import type { IncomingMessage, RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { systemCodeOf } from '../kernel/errors.ts';
import { http } from '../kernel/http.ts';

/** Takes an answer in while it arrives. Throws where it is not what was asked for. */
export interface AnswerSink {
  push(chunk: Buffer): void;
  end(): void;
}

/** An answer had more bytes than somebody was ready to read. */
export class AnswerTooLarge extends Error {
  constructor(most: number) {
    super(`answers with more than ${most} bytes`);
  }
}

/**
 * Asks by HTTP, without a body, and waits for the head of the answer. What comes after the head is the caller's to read, or to
 * destroy.
 *
 * @param options with a signal, since nobody else sets a limit to it
 * @throws Error of the system, of TLS, or of the signal
 */
export async function answerTo(
  options: RequestOptions & { readonly signal: AbortSignal },
  { secure }: { readonly secure: boolean },
): Promise<IncomingMessage> {
  const request = secure ? httpsRequest(options) : http.request(options);
  request.end();
  try {
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return response;
  } catch (error) {
    // A connection that was kept too long says nothing of the other side, and nothing was read over it.
    if (request.reusedSocket && systemCodeOf(error) === 'ECONNRESET') return await answerTo(options, { secure });
    throw error;
  }
}

/**
 * Hands the body of an answer on while it arrives. Of one that is not taken to its end the rest is not read.
 *
 * @throws AnswerTooLarge, what `sink` throws, or Error when it breaks off
 */
export async function readAnswer(response: IncomingMessage, most: number, sink: AnswerSink): Promise<void> {
  try {
    if (Number(response.headers['content-length'] ?? 0) > most) throw new AnswerTooLarge(most);
    let bytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > most) throw new AnswerTooLarge(most);
      sink.push(chunk);
    }
    sink.end();
  } finally {
    if (!response.readableEnded) response.destroy();
  }
}

/** Takes an answer in as a whole: for one that is small. */
export class TextSink implements AnswerSink {
  readonly #chunks: Buffer[] = [];
  #text = '';

  /** What it said; nothing before its end. */
  get text(): string {
    return this.#text;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  end(): void {
    this.#text = Buffer.concat(this.#chunks.splice(0)).toString('utf8');
  }
}

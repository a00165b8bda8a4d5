import type { DescMethod, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  status,
} from '@grpc/grpc-js';

/** How a call ended, as the client was told. */
export interface Told {
  readonly code: string;
  readonly details: string;
}

export interface CallTerms {
  /** The security header's values; once `true` unless said. */
  readonly header?: readonly string[];
  /** Milliseconds from now. */
  readonly deadline?: number;
}

/** A stream as its client sees it. */
export interface Followed<T> {
  readonly received: T[];
  /** Resolves with the `count`-th message (from 1). @throws Error with the stream's end, when that came before */
  at(count: number): Promise<T>;
  readonly ended: Promise<Told>;
  cancel(): void;
}

const DEADLINE_MS = 5000;

/** A grpc-js client of one socket, on a connection of its own, with protobuf-es messages. */
export class GrpcCaller {
  readonly #client: Client;

  constructor(path: string) {
    this.#client = new Client(`unix:${path}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.max_send_message_length': -1,
    });
  }

  /** The reply of a unary call. @throws what {@link told} says, as an Error */
  async call<M extends DescMethod>(
    method: M,
    request: MessageInitShape<M['input']>,
    terms: CallTerms = {},
  ): Promise<MessageShape<M['output']>> {
    const { promise, resolve, reject } = Promise.withResolvers<MessageShape<M['output']>>();
    const [path, encode, decode] = wire(method);
    this.#client.makeUnaryRequest(
      path,
      encode,
      decode,
      request,
      metadataOf(terms),
      optionsOf(terms),
      (error, reply) => {
        if (error !== null || reply === undefined) reject(error ?? new Error('no reply'));
        else resolve(reply);
      },
    );
    return promise;
  }

  /** How a unary call ends. */
  async told<M extends DescMethod>(
    method: M,
    request: MessageInitShape<M['input']>,
    terms: CallTerms = {},
  ): Promise<Told> {
    return this.call(method, request, terms).then(
      () => ({ code: 'OK', details: '' }),
      (error: unknown) => toldBy(error),
    );
  }

  stream<M extends DescMethod>(
    method: M,
    request: MessageInitShape<M['input']>,
    terms: CallTerms = {},
  ): Followed<MessageShape<M['output']>> {
    const [path, encode, decode] = wire(method);
    return followed(
      this.#client.makeServerStreamRequest(path, encode, decode, request, metadataOf(terms), optionsOf(terms)),
    );
  }

  /** @param hear told of each message as it comes */
  duplex<M extends DescMethod>(method: M, hear: (message: MessageShape<M['output']>) => void = () => undefined) {
    const [path, encode, decode] = wire(method);
    const call: ClientDuplexStream<
      MessageInitShape<M['input']>,
      MessageShape<M['output']>
    > = this.#client.makeBidiStreamRequest(path, encode, decode);
    call.on('data', hear);
    return {
      ...followed<MessageShape<M['output']>>(call),
      send: (request: MessageInitShape<M['input']>) => void call.write(request),
      end: () => call.end(),
    };
  }

  close(): void {
    this.#client.close();
  }
}

function followed<T>(call: ClientReadableStream<T>): Followed<T> {
  const received: T[] = [];
  const ended = Promise.withResolvers<Told>();
  const watchers = new Set<() => void>();
  let over: Told | undefined;
  const wake = () => {
    for (const watcher of watchers) watcher();
  };
  call.on('data', (message: T) => {
    received.push(message);
    wake();
  });
  // The same comes as a status.
  call.on('error', () => undefined);
  call.on('status', ({ code, details }) => {
    over = { code: status[code], details };
    ended.resolve(over);
    wake();
  });
  return {
    received,
    ended: ended.promise,
    cancel: () => call.cancel(),
    async at(count) {
      const late = AbortSignal.timeout(DEADLINE_MS);
      while (received.length < count) {
        if (over !== undefined) throw new Error(`the stream ended: ${over.code} ${over.details}`);
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        const give = () => reject(new Error(`no message ${count} within ${DEADLINE_MS} ms, but ${received.length}`));
        watchers.add(resolve);
        late.addEventListener('abort', give);
        await promise.finally(() => {
          watchers.delete(resolve);
          late.removeEventListener('abort', give);
        });
      }
      return received[count - 1] as T;
    },
  };
}

function wire<M extends DescMethod>(method: M) {
  return [
    `/${method.parent.typeName}/${method.name}`,
    (request: MessageInitShape<M['input']>) => Buffer.from(toBinary(method.input, create(method.input, request))),
    (bytes: Buffer) => fromBinary(method.output, bytes) as MessageShape<M['output']>,
  ] as const;
}

function metadataOf({ header = ['true'] }: CallTerms): Metadata {
  const metadata = new Metadata();
  for (const value of header) metadata.add('workload.spiffe.io', value);
  return metadata;
}

function optionsOf({ deadline }: CallTerms) {
  return deadline === undefined ? {} : { deadline: Date.now() + deadline };
}

function toldBy(error: unknown): Told {
  const { code, details } = error as { code: number; details: string };
  return { code: status[code] ?? String(code), details };
}

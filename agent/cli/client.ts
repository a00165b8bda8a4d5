import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import { callError, unanswered } from './call-error.ts';
import type { Invocation } from './invocation.ts';
import type { AgentSocket } from './socket.ts';
import { findAdminSocket, findSocket } from './socket.ts';

const TIMEOUT_MS = 10_000;
// A list of ten thousand entries is larger than the 4 MiB that gRPC takes unless told.
const MAX_ANSWER_BYTES = 64 * 1024 ** 2;

/** A connection to an agent, made at the first call. */
export class AgentClient implements Disposable {
  readonly #client: Client;
  readonly #socket: AgentSocket;
  readonly #timeout: number;
  readonly #clock: Clock;

  /** @param timeout how long to wait for an answer, or a stream's first, in milliseconds */
  constructor(socket: AgentSocket, timeout: number, clock: Clock) {
    this.#socket = socket;
    this.#timeout = timeout;
    this.#clock = clock;
    this.#client = new Client(`unix:${socket.path}`, credentials.createInsecure(), {
      'grpc.enable_channelz': 0,
      'grpc.enable_http_proxy': 0,
      // How long to wait before another attempt is decided by who makes the calls.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    });
  }

  /** @throws MayflyError with a sentence for the person at the terminal; see `callError` */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    const { promise, resolve, reject } = Promise.withResolvers<MessageShape<O>>();
    const call = this.#client.makeUnaryRequest<MessageInitShape<I>, MessageShape<O>>(
      pathOf(method),
      (message) => Buffer.from(toBinary(method.input, create(method.input, message))),
      (bytes) => fromBinary(method.output, bytes),
      request,
      securityHeader(),
      (error, answer) => {
        if (error === null && answer !== undefined) resolve(answer);
        else reject(error ?? new MayflyError('INTERNAL', 'the agent answered with nothing'));
      },
    );
    const late = this.#clock.after(this.#timeout, () => {
      reject(unanswered(this.#socket, this.#timeout));
      call.cancel();
    });
    try {
      return await promise;
    } catch (error) {
      throw callError(error, this.#socket);
    } finally {
      late.cancel();
    }
  }

  /**
   * Yields what the agent sends until `signal` aborts. Leaving the loop cancels the call.
   *
   * @throws MayflyError as {@link unary}, also when the agent ends the stream
   */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    signal?: AbortSignal,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    yield* this.#messages(method, request, this.#timeout, signal);
    if (signal?.aborted !== true) throw this.#ended();
  }

  /**
   * {@link stream} for what may have nothing to say for hours: the agent has to take the connection in time, and no more.
   *
   * @throws MayflyError as {@link stream}
   */
  async *quietStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    const connected = new AbortController();
    const late = this.#clock.after(this.#timeout, () => connected.abort(unanswered(this.#socket, this.#timeout)));
    this.#client.waitForReady(Number.POSITIVE_INFINITY, (error) => {
      if (error === undefined) late.cancel();
    });
    try {
      yield* this.#messages(method, request, undefined, AbortSignal.any([signal, connected.signal]));
    } finally {
      late.cancel();
    }
    if (!signal.aborted) throw connected.signal.aborted ? connected.signal.reason : this.#ended();
  }

  /**
   * Yields all that the agent sends until it ends the stream.
   *
   * @throws MayflyError as {@link unary}
   */
  all<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    signal?: AbortSignal,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    return this.#messages(method, request, this.#timeout, signal);
  }

  /**
   * The first that a stream yields, as a one-shot command wants it.
   *
   * @throws MayflyError as {@link unary}
   */
  async first<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    for await (const message of this.stream(method, request)) return message;
    throw this.#ended();
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  /** @param timeout how long to wait for the first message or the end, in milliseconds; for ever when `undefined` */
  async *#messages<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    timeout: number | undefined,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    const aborted = () => signal?.aborted === true;
    if (aborted()) return;
    const call = this.#client.makeServerStreamRequest<MessageInitShape<I>, MessageShape<O>>(
      pathOf(method),
      (message) => Buffer.from(toBinary(method.input, create(method.input, message))),
      (bytes) => fromBinary(method.output, bytes),
      request,
      securityHeader(),
    );
    let tooLate: MayflyError | undefined;
    const late =
      timeout === undefined
        ? undefined
        : this.#clock.after(timeout, () => {
            tooLate = unanswered(this.#socket, timeout);
            call.cancel();
          });
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel);
    // A cancelled call fails once more, when nobody listens any longer.
    call.on('error', () => {});
    try {
      for await (const message of call) {
        late?.cancel();
        yield message as MessageShape<O>;
      }
    } catch (error) {
      if (aborted()) return;
      throw tooLate ?? callError(error, this.#socket);
    } finally {
      late?.cancel();
      signal?.removeEventListener('abort', cancel);
      call.cancel();
    }
  }

  #ended(): MayflyError {
    return new MayflyError('AGENT_UNREACHABLE', `the agent at ${this.#socket.path} ended the stream; ask again`);
  }
}

/** Connects to the Workload API. @throws MayflyError as {@link findSocket} */
export function connectApi({ options, terminal }: Invocation, timeout = TIMEOUT_MS): AgentClient {
  return new AgentClient(findSocket(options, terminal), options.timeout ?? timeout, terminal.clock);
}

/**
 * Connects to the admin socket.
 *
 * @param more how much longer than usual an answer takes, in milliseconds
 * @throws MayflyError as {@link findAdminSocket}
 */
export function connectAdmin({ options, terminal }: Invocation, more = 0): AgentClient {
  return new AgentClient(findAdminSocket(options, terminal), (options.timeout ?? TIMEOUT_MS) + more, terminal.clock);
}

/** SPIFFE Workload Endpoint §5.2: without it every call is refused. */
function securityHeader(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}

function pathOf(method: DescMethodUnary | DescMethodServerStreaming): string {
  return `/${method.parent.typeName}/${method.name}`;
}

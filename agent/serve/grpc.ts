import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type {
  ConnectionInjector,
  Metadata,
  MethodDefinition,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
} from '@grpc/grpc-js';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { ErrorCode } from '../kernel/errors.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Encode } from './codec.ts';
import { encoderOf, methodDefinition } from './codec.ts';
import type { CallStatus } from './status.ts';
import { statusOf } from './status.ts';

/** Leads from what gRPC knows of a connection to who opened it. */
export interface CallerSource<Caller> {
  /**
   * @param peer the connection's id, as it was put on the socket
   * @throws MayflyError `CALLER_UNKNOWN` when it is nobody's, or the process has ended
   */
  of(peer: string): Caller;
  /** Counts a call of `caller` as under way; returns how to count it off. @throws MayflyError `OVER_LIMIT` */
  enterCall(caller: Caller): () => void;
}

/** One call as a handler sees it. */
export interface Call<Caller> {
  readonly caller: Caller;
  readonly metadata: Metadata;
  /** Aborts when the client has gone, its deadline has passed, or the agent stops. */
  readonly signal: AbortSignal;
}

/** A message to be sent: a shape to be encoded, or one encoded already, so that a thousand streams share one encoding. */
export type Outgoing<M extends DescMessage> = MessageInitShape<M> | Uint8Array;

type Handler<M extends DescMethod, Caller> = M['methodKind'] extends 'unary'
  ? (request: MessageShape<M['input']>, call: Call<Caller>) => Outgoing<M['output']> | Promise<Outgoing<M['output']>>
  : M['methodKind'] extends 'server_streaming'
    ? (request: MessageShape<M['input']>, call: Call<Caller>) => AsyncIterable<Outgoing<M['output']>>
    : (requests: AsyncIterable<MessageShape<M['input']>>, call: Call<Caller>) => AsyncIterable<Outgoing<M['output']>>;

/** A handler for each method of a service, by its local name. */
export type Handlers<S extends DescService, Caller> = {
  readonly [Name in keyof S['method']]: Handler<S['method'][Name], Caller>;
};

// The erased forms with which calls are dispatched; `Handlers` has checked the shapes where a service is added.
type AnyUnary<Caller> = (request: unknown, call: Call<Caller>) => Uint8Array | object | Promise<Uint8Array | object>;
type AnyStream<Caller> = (request: unknown, call: Call<Caller>) => AsyncIterable<Uint8Array | object>;
type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, 'getPath' | 'getPeer' | 'metadata' | 'once'>;

/** A call that is counted. Whoever ends it first answers it: its handler, or the agent that stops. */
interface UnderWay<Caller> {
  readonly call: Call<Caller>;
  /** Notes that the client was given something. */
  readonly serve: () => void;
  /** Counts the call off. True the first time: it may be answered. */
  readonly end: () => boolean;
  /** Ends the call with an error's status. */
  readonly fail: (error: unknown) => void;
  /** Aborts the call's signal, and ends it with `reason` even if the handler is not to be moved. */
  readonly stop: (reason: MayflyError) => void;
}

export interface GrpcLimits {
  /** Bytes of one request. */
  readonly maxMessageSize: number;
  /** What the caller source admits on one connection: HTTP/2's own limit is set above it. */
  readonly maxCallsPerConnection: number;
}

// A call is counted when its request is there; this many more may be about to send theirs.
const SPARE_STREAMS = 256;

/**
 * A gRPC server on connections that somebody else has accepted, with protobuf-es messages. It counts calls and connections by
 * itself: grpc-js does not know of injected ones when it is asked to stop.
 */
export class GrpcServer<Caller> {
  readonly #server: Server;
  readonly #injector: ConnectionInjector;
  readonly #callers: CallerSource<Caller>;
  readonly #log: Log;
  readonly #calls = new Set<UnderWay<Caller>>();
  readonly #sockets = new Map<Socket, Promise<void>>();
  #drained: Promise<void> | undefined;

  constructor(callers: CallerSource<Caller>, limits: GrpcLimits, log: Log) {
    this.#callers = callers;
    this.#log = log;
    this.#server = new Server({
      'grpc.enable_channelz': 0,
      'grpc.max_receive_message_length': limits.maxMessageSize,
      // Above what a connection may have under way: a client over HTTP/2's own limit waits in silence, ours tells it.
      'grpc.max_concurrent_streams': limits.maxCallsPerConnection + SPARE_STREAMS,
    });
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** Calls under way, streams included. */
  get calls(): number {
    return this.#calls.size;
  }

  /** Serves HTTP/2 on an accepted socket whose `remoteAddress` is its connection's id. */
  inject(socket: Socket): void {
    if (this.#drained !== undefined) {
      socket.destroy();
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#sockets.set(socket, promise);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      resolve();
    });
    this.#injector.injectConnection(socket);
  }

  add<S extends DescService>(service: S, handlers: Handlers<S, Caller>): void {
    const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
    const implementation: Record<string, (call: never, done: never) => void> = {};
    for (const method of service.methods) {
      const handler: unknown = handlers[method.localName as keyof S['method']];
      definition[method.localName] = methodDefinition(method);
      implementation[method.localName] =
        method.methodKind === 'unary'
          ? this.#unary(handler as AnyUnary<Caller>, encoderOf(method.output))
          : this.#streaming(
              handler as AnyStream<Caller>,
              encoderOf(method.output),
              method.methodKind === 'bidi_streaming',
            );
    }
    this.#server.addService(definition, implementation as never);
  }

  /**
   * Ends every call with UNAVAILABLE, says GOAWAY on every connection, and resolves when all connections are closed: those that
   * are still open `grace` milliseconds later are cut. What comes later is refused. May be called again.
   */
  drain(grace: number): Promise<void> {
    this.#drained ??= this.#drain(grace);
    return this.#drained;
  }

  async #drain(grace: number): Promise<void> {
    const reason = stopping();
    for (const under of this.#calls) under.stop(reason);
    // The trailers go out first: a client that was told GOAWAY might not wait for them.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    this.#injector.destroy();
    const cut = setTimeout(() => {
      for (const socket of this.#sockets.keys()) socket.destroy();
    }, grace);
    await Promise.all(this.#sockets.values());
    clearTimeout(cut);
  }

  #unary(handler: AnyUnary<Caller>, encode: Encode) {
    return (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>): void => {
      const under = this.#begin(call, done);
      if (under === undefined) return;
      const answer = (reply: Uint8Array | object) => {
        const message = encode(reply);
        if (under.end()) done(null, message);
      };
      try {
        const reply = handler(call.request, under.call);
        if (reply instanceof Promise) reply.then(answer).catch(under.fail);
        else answer(reply);
      } catch (error) {
        under.fail(error);
      }
    };
  }

  #streaming(handler: AnyStream<Caller>, encode: Encode, bidi: boolean) {
    return (call: ServerWritableStream<unknown, unknown>): void => {
      const under = this.#begin(call, (refused) => void call.emit('error', refused));
      if (under === undefined) return;
      const { signal } = under.call;
      const pump = async () => {
        try {
          for await (const message of handler(bidi ? requestsOf(call) : call.request, under.call)) {
            if (signal.aborted) break;
            await written(call, encode(message), signal);
            under.serve();
          }
          // A handler returns when its signal aborts; why it did is the call's status.
          if (signal.aborted) throw signal.reason;
          if (under.end()) call.end();
        } catch (error) {
          // What reading and writing throw once the other side has gone is no failure of the handler.
          under.fail(signal.aborted ? signal.reason : error);
        }
      };
      void pump();
    };
  }

  /** What every call passes first: its caller is known and alive, and has not too many calls under way. */
  #begin(call: AnyCall, refuse: (refused: CallStatus) => void): UnderWay<Caller> | undefined {
    let served = false;
    const fail = (error: unknown) => refuse(this.#status(error, call.getPath(), served));
    try {
      if (this.#drained !== undefined) throw stopping();
      const caller = this.#callers.of(call.getPeer());
      const leaveCaller = this.#callers.enterCall(caller);
      const controller = new AbortController();
      const under: UnderWay<Caller> = {
        call: { caller, metadata: call.metadata, signal: controller.signal },
        serve: () => {
          served = true;
        },
        end: () => {
          if (!this.#calls.delete(under)) return false;
          leaveCaller();
          return true;
        },
        fail: (error) => {
          if (under.end()) fail(error);
        },
        stop: (reason) => {
          controller.abort(reason);
          under.fail(reason);
        },
      };
      this.#calls.add(under);
      call.once('cancelled', () => controller.abort(CLIENT_GONE));
      return under;
    } catch (error) {
      fail(error);
      return undefined;
    }
  }

  /**
   * The status for an error, and its line in the log, which says why to the operator alone.
   *
   * @param served whether the call was already given something: its end is then the way of things, and told elsewhere
   */
  #status(error: unknown, path: string, served: boolean): CallStatus {
    const told = statusOf(error);
    const message = `${path}: ${asError(error).message}`;
    if (told.code === status.INTERNAL) {
      this.#log.error('serve.failed', `${path} failed`, { path, error: asError(error) });
    } else if (served || error === CLIENT_GONE || !isMayflyError(error) || !WORTH_A_WARNING.has(error.code)) {
      this.#log.debug('serve.refused', message, { path });
    } else {
      this.#log.warn('serve.refused', `${message}${causesOf(error)}`, { path, reason: error.code });
    }
    return told;
  }
}

// The caller is told too little to help himself, and nobody else would know. The other errors are the caller's own mistakes.
const WORTH_A_WARNING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NO_IDENTITY',
  'CALLER_UNKNOWN',
  'ATTESTATION_FAILED',
  'AUTHORITY_UNAVAILABLE',
  'OVERLOADED',
  'DISK_FULL',
]);

/** What is underneath an error, as the tail of its sentence. */
function causesOf(error: Error): string {
  return error.cause instanceof Error ? `: ${error.cause.message}${causesOf(error.cause)}` : '';
}

// Nobody is there to be told: one object for all spares a stack trace a call.
const CLIENT_GONE = new MayflyError('NO_IDENTITY', 'the client has gone');

function stopping(): MayflyError {
  return new MayflyError('SHUTTING_DOWN', 'the agent is stopping');
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/**
 * grpc-js gives a bidirectional handler one object for both directions. Its own iterator destroys both when the client has said its
 * last, and the status would never be sent.
 */
function requestsOf(call: unknown): AsyncIterable<unknown> {
  return (call as Readable).iterator({ destroyOnReturn: false });
}

/** Resolves when HTTP/2 has taken the message, which is when the client reads: a stream has one update under way at most. */
function written(call: ServerWritableStream<unknown, unknown>, message: unknown, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const settle = () => {
    signal.removeEventListener('abort', settle);
    resolve();
  };
  // grpc-js never calls back for a call that was cancelled.
  signal.addEventListener('abort', settle);
  call.write(message, settle);
  return promise;
}

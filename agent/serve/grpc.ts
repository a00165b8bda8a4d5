import type { Socket } from 'node:net';
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type {
  ConnectionInjector,
  Metadata,
  MethodDefinition,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
} from '@grpc/grpc-js';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { MayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
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
type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, 'getPeer' | 'metadata' | 'once'>;

export interface GrpcLimits {
  /** Bytes of one request. */
  readonly maxMessageSize: number;
}

/**
 * A gRPC server on connections that somebody else has accepted, with protobuf-es messages. It counts its calls by itself:
 * grpc-js does not know of injected connections when it is asked to stop.
 */
export class GrpcServer<Caller> {
  readonly #server: Server;
  readonly #injector: ConnectionInjector;
  readonly #callers: CallerSource<Caller>;
  readonly #log: Log;
  readonly #calls = new Set<AbortController>();
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(callers: CallerSource<Caller>, limits: GrpcLimits, log: Log) {
    this.#callers = callers;
    this.#log = log;
    this.#server = new Server({
      'grpc.enable_channelz': 0,
      'grpc.max_receive_message_length': limits.maxMessageSize,
      // Above what a connection may have under way: a client over HTTP/2's own limit waits in silence, ours tells it.
      'grpc.max_concurrent_streams': 2 ** 16,
    });
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** Calls under way, streams included. */
  get calls(): number {
    return this.#calls.size;
  }

  /** Serves HTTP/2 on an accepted socket whose `remoteAddress` is its connection's id. */
  inject(socket: Socket): void {
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
          ? this.#unary(handler as AnyUnary<Caller>)
          : this.#streaming(handler as AnyStream<Caller>, method.methodKind === 'bidi_streaming');
    }
    this.#server.addService(definition, implementation as never);
  }

  /**
   * Ends every call with UNAVAILABLE, says GOAWAY on every connection, and resolves when all calls have ended. Calls that come
   * later are refused. Connections that are still open `grace` milliseconds later are cut.
   */
  async drain(grace: number): Promise<void> {
    if (this.#drained === undefined) {
      this.#drained = Promise.withResolvers<void>();
      const reason = new MayflyError('SHUTTING_DOWN', 'the agent is stopping');
      for (const call of this.#calls) call.abort(reason);
      if (this.#calls.size === 0) this.#drained.resolve();
      this.#injector.drain(grace);
    }
    await this.#drained.promise;
  }

  #unary(handler: AnyUnary<Caller>) {
    return (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>): void => {
      const under = this.#begin(call);
      if (under instanceof Error) {
        done(statusOf(under));
        return;
      }
      const finish = (error: unknown, reply?: Uint8Array | object) => {
        under.leave();
        if (error === undefined) done(null, reply);
        else done(this.#status(error, call.getPath()));
      };
      try {
        const reply = handler(call.request, under.call);
        if (reply instanceof Promise) reply.then((value) => finish(undefined, value), finish);
        else finish(undefined, reply);
      } catch (error) {
        finish(error);
      }
    };
  }

  #streaming(handler: AnyStream<Caller>, bidi: boolean) {
    return (call: ServerWritableStream<unknown, unknown>): void => {
      const under = this.#begin(call);
      if (under instanceof Error) {
        call.emit('error', statusOf(under));
        return;
      }
      const pump = async () => {
        try {
          const { signal } = under.call;
          for await (const message of handler(bidi ? requestsOf(call) : call.request, under.call)) {
            if (signal.aborted) break;
            await written(call, message, signal);
          }
          // A handler returns when its signal aborts; why it did is the call's status.
          if (signal.aborted) throw signal.reason;
          call.end();
        } catch (error) {
          call.emit('error', this.#status(error, call.getPath()));
        } finally {
          under.leave();
        }
      };
      void pump();
    };
  }

  /** What every call passes first: its caller is known and alive, and has not too many calls under way. */
  #begin(call: AnyCall): { call: Call<Caller>; leave: () => void } | Error {
    try {
      if (this.#drained !== undefined) throw new MayflyError('SHUTTING_DOWN', 'the agent is stopping');
      const caller = this.#callers.of(call.getPeer());
      const leaveCaller = this.#callers.enterCall(caller);
      const controller = new AbortController();
      this.#calls.add(controller);
      call.once('cancelled', () => controller.abort(new MayflyError('NO_IDENTITY', 'the client has gone')));
      const leave = () => {
        if (!this.#calls.delete(controller)) return;
        leaveCaller();
        if (this.#calls.size === 0) this.#drained?.resolve();
      };
      return { call: { caller, metadata: call.metadata, signal: controller.signal }, leave };
    } catch (error) {
      return asError(error);
    }
  }

  #status(error: unknown, path: string): { code: status; details: string } {
    const told = statusOf(error);
    if (told.code === status.INTERNAL)
      this.#log.error('serve.failed', `${path} failed`, { path, error: asError(error) });
    else
      this.#log.debug('serve.refused', `${path}: ${error instanceof Error ? error.message : String(error)}`, { path });
    return told;
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** grpc-js gives a bidirectional handler one object for both directions. */
function requestsOf(call: unknown): AsyncIterable<unknown> {
  return call as AsyncIterable<unknown>;
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

function methodDefinition(method: DescMethod): MethodDefinition<unknown, unknown> {
  const encode = (schema: DescMessage) => (message: unknown) =>
    Buffer.from(
      message instanceof Uint8Array
        ? message
        : toBinary(schema, create(schema, message as MessageInitShape<DescMessage>)),
    );
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: encode(method.input),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: encode(method.output),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

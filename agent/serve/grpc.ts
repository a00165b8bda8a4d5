import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { DescService } from '@bufbuild/protobuf';
import type {
  ConnectionInjector,
  MethodDefinition,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
} from '@grpc/grpc-js';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { MayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { CallFailures, CLIENT_GONE } from './call-failures.ts';
import type { Encode } from './codec.ts';
import { encoderOf, methodDefinition } from './codec.ts';
import type { Call, CallerSource, Handlers } from './handlers.ts';
import { boundedInbound, limitHeaders } from './inbound.ts';
import { SecretMessage, UnsentSecrets } from './secret-message.ts';
import type { CallStatus } from './status.ts';

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

/** Told of calls as they go, to count them: it must be quick, and it must not throw. */
export interface CallObserver {
  /**
   * @param path of the method: `/SpiffeWorkloadAPI/FetchX509SVID`
   * @param code the name of its gRPC status; `CANCELLED` where the client went first
   */
  ended(path: string, code: string): void;
  /** A message was sent on a stream. */
  sent(path: string): void;
}

export interface GrpcLimits {
  /** Bytes of one request. */
  readonly maxMessageSize: number;
  /** Bytes of the headers of one request. */
  readonly maxHeaderSize: number;
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
  readonly #failures: CallFailures;
  readonly #observer: CallObserver | undefined;
  readonly #calls = new Set<UnderWay<Caller>>();
  readonly #sockets = new Map<Socket, Promise<void>>();
  readonly #unsent = new UnsentSecrets();
  #drained: Promise<void> | undefined;

  constructor(callers: CallerSource<Caller>, limits: GrpcLimits, log: Log, observer?: CallObserver) {
    this.#callers = callers;
    this.#observer = observer;
    this.#failures = new CallFailures(log);
    this.#server = new Server({
      'grpc.enable_channelz': 0,
      interceptors: [boundedInbound(limits.maxMessageSize)],
      // Above what a connection may have under way: a client over HTTP/2's own limit waits in silence, ours tells it.
      'grpc.max_concurrent_streams': limits.maxCallsPerConnection + SPARE_STREAMS,
    });
    limitHeaders(this.#server, limits.maxHeaderSize);
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
    // Of a socket that is closed Node no longer tells it.
    const peer = socket.remoteAddress ?? '';
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#unsent.closed(peer);
      resolve();
    });
    this.#injector.injectConnection(socket);
  }

  /**
   * Serves a service.
   *
   * @param secret unary methods whose answers have a secret in them
   */
  add<S extends DescService>(
    service: S,
    handlers: Handlers<S, Caller>,
    secret: readonly (keyof S['method'])[] = [],
  ): void {
    const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
    const implementation: Record<string, (call: never, done: never) => void> = {};
    for (const method of service.methods) {
      const handler: unknown = handlers[method.localName];
      // A stream of one message is the same on the wire, and only of a stream grpc-js tells when a message was written.
      const asStream = secret.includes(method.localName);
      definition[method.localName] = methodDefinition(method, asStream);
      implementation[method.localName] =
        method.methodKind === 'unary' && !asStream
          ? this.#unary(handler as AnyUnary<Caller>, encoderOf(method.output))
          : this.#streaming(
              asStream ? streamOfOne(handler as AnyUnary<Caller>) : (handler as AnyStream<Caller>),
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
        if (!under.end()) return;
        this.#ended(call, 'OK');
        done(null, message);
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
            if (signal.aborted) {
              if (message instanceof SecretMessage) message[Symbol.dispose]();
              break;
            }
            await (message instanceof SecretMessage
              ? this.#writeSecret(call, message, signal)
              : written(call, encode(message), signal));
            under.serve();
            this.#observer?.sent(call.getPath());
          }
          // A handler returns when its signal aborts; why it did is the call's status.
          if (signal.aborted) throw signal.reason;
          if (!under.end()) return;
          this.#ended(call, 'OK');
          call.end();
        } catch (error) {
          // What reading and writing throw once the other side has gone is no failure of the handler.
          under.fail(signal.aborted ? signal.reason : error);
        }
      };
      void pump();
    };
  }

  #ended(call: AnyCall, code: string): void {
    this.#observer?.ended(call.getPath(), code);
  }

  async #writeSecret(
    call: ServerWritableStream<unknown, unknown>,
    message: SecretMessage,
    signal: AbortSignal,
  ): Promise<void> {
    const peer = call.getPeer();
    this.#unsent.add(peer, message);
    await written(call, message.bytes, signal, () => this.#unsent.sent(peer, message));
  }

  /** What every call passes first: its caller is known and alive, and has not too many calls under way. */
  #begin(call: AnyCall, refuse: (refused: CallStatus) => void): UnderWay<Caller> | undefined {
    let served = false;
    const fail = (error: unknown) => {
      const told = this.#failures.told(error, call.getPath(), served);
      this.#ended(call, error === CLIENT_GONE ? 'CANCELLED' : (status[told.code] ?? 'UNKNOWN'));
      refuse(told);
    };
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
}

function streamOfOne<Caller>(handler: AnyUnary<Caller>): AnyStream<Caller> {
  return async function* (request, call) {
    yield await handler(request, call);
  };
}

function stopping(): MayflyError {
  return new MayflyError('SHUTTING_DOWN', 'the agent is stopping');
}

/**
 * grpc-js gives a bidirectional handler one object for both directions. Its own iterator destroys both when the client has said its
 * last, and the status would never be sent.
 */
function requestsOf(call: unknown): AsyncIterable<unknown> {
  return (call as Readable).iterator({ destroyOnReturn: false });
}

/**
 * Resolves when HTTP/2 has written the message, which is when the client reads: a stream has one update under way at most. Or when the
 * call is aborted, which the message may outlive.
 *
 * @param sent called when it was written, also after an abort; never when the connection breaks first
 */
function written(
  call: ServerWritableStream<unknown, unknown>,
  message: unknown,
  signal: AbortSignal,
  sent: () => void = () => {},
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const settle = () => {
    signal.removeEventListener('abort', settle);
    resolve();
  };
  // grpc-js never calls back for a call that was cancelled.
  signal.addEventListener('abort', settle);
  call.write(message, () => {
    sent();
    settle();
  });
  return promise;
}

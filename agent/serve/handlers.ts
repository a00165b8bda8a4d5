import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { Metadata } from '@grpc/grpc-js';
import type { SecretMessage } from './secret-message.ts';

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

/**
 * A message to be sent: a shape to be encoded, or one encoded already, so that a thousand streams share one encoding. One with a secret
 * in it is wiped when it has been sent.
 */
export type Outgoing<M extends DescMessage> = MessageInitShape<M> | Uint8Array | SecretMessage;

type Handler<M extends DescMethod, Caller> = M['methodKind'] extends 'unary'
  ? (request: MessageShape<M['input']>, call: Call<Caller>) => Outgoing<M['output']> | Promise<Outgoing<M['output']>>
  : M['methodKind'] extends 'server_streaming'
    ? (request: MessageShape<M['input']>, call: Call<Caller>) => AsyncIterable<Outgoing<M['output']>>
    : (requests: AsyncIterable<MessageShape<M['input']>>, call: Call<Caller>) => AsyncIterable<Outgoing<M['output']>>;

/** A handler for each method of a service, by its local name. */
export type Handlers<S extends DescService, Caller> = {
  readonly [Name in keyof S['method']]: Handler<S['method'][Name], Caller>;
};

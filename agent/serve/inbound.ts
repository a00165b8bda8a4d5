import { constants, type ServerHttp2Stream, type ServerOptions } from 'node:http2';
import type { Server, ServerInterceptingCall, ServerInterceptor } from '@grpc/grpc-js';
import { RequestDecoder } from './request-decoder.ts';

// While nobody reads, HTTP/2 keeps what comes in the pieces in which it comes. A client that has 64 KiB to say needs four.
const MOST_UNREAD = 256;

/** The two places of a grpc-js call, of which it does not tell, where what a client sends is kept. */
interface Inbound {
  readonly stream: ServerHttp2Stream;
  decoder: RequestDecoder;
}

/**
 * Keeps what a client can make the agent hold within what it sends: grpc-js and Node take it in whatever pieces it comes, and a piece of
 * one byte costs a hundred.
 *
 * @param maxMessageSize bytes of one message
 */
export function boundedInbound(maxMessageSize: number): ServerInterceptor {
  return (_method, call) => {
    const inbound = call as unknown as Inbound;
    // In place of grpc-js' own, before it has read anything.
    inbound.decoder = new RequestDecoder(maxMessageSize, (refused) => call.sendStatus({ ...refused, metadata: null }));
    boundUnread(inbound.stream);
    // What came together with the headers waits already, in its pieces: now in one.
    inbound.stream.read();
    // What stands on the call itself needs none around it.
    return call as ServerInterceptingCall;
  };
}

/**
 * Tells clients, and HTTP/2, how large the headers of a request may be: grpc-js has no option for it, and Node takes 64 KiB, which a client
 * may name in ten bytes. To be called before the server is given connections.
 *
 * @param maxHeaderSize bytes of all names and values, with the 32 each that RFC 9113 §6.5.2 adds
 */
export function limitHeaders(server: Server, maxHeaderSize: number): void {
  const { commonServerOptions } = server as unknown as { readonly commonServerOptions: ServerOptions };
  commonServerOptions.settings = { ...commonServerOptions.settings, maxHeaderListSize: maxHeaderSize };
}

/** Resets a stream on which more pieces wait for a reader than anybody sends who means well. */
function boundUnread(stream: ServerHttp2Stream): void {
  const push = stream.push.bind(stream);
  let unread = 0;
  stream.push = (piece, encoding) => {
    unread = stream.readableLength === 0 ? 0 : unread + 1;
    if (unread <= MOST_UNREAD || piece === null) return push(piece, encoding);
    if (unread === MOST_UNREAD + 1) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    return false;
  };
}

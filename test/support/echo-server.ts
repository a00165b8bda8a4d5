import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { isLegalAuthority } from '../../agent/peer/http2/request-headers.ts';
import type { WrittenField } from './hpack-encoder.ts';
import type { Http2Client } from './http2-client.ts';

/** HTTP/2 that answers each request with the header fields that it got, and the trailers after them. */
export function echoServer(): Http2Server {
  const server = createServer();
  server.on('sessionError', () => undefined);
  server.on('stream', (stream: ServerHttp2Stream, _headers, _flags, rawHeaders) => {
    let trailers: string[] = [];
    stream.on('error', () => undefined);
    stream.on('trailers', (_trailers, _trailerFlags, rawTrailers: string[]) => {
      trailers = rawTrailers;
    });
    stream.on('end', () => {
      stream.respond({ ':status': 200 });
      stream.end(JSON.stringify([...rawHeaders, ...trailers]));
    });
    stream.resume();
  });
  return server;
}

/** What {@link echoServer} answered on `stream`: names and values in turn, or `RST <code>` alone. */
export async function echoed(client: Http2Client, stream: number): Promise<string[]> {
  const body = await client.response(stream);
  return body.startsWith('RST') ? [body] : (JSON.parse(body) as string[]);
}

/** Names and values in turn. */
export function flat(fields: readonly WrittenField[]): string[] {
  return fields.flatMap(({ name, value }) => [name, value]);
}

/** What nghttp2 is to see of a request with `fields`. */
export function adapted(fields: readonly WrittenField[]): string[] {
  const authority = fields.find(({ name }) => name === ':authority');
  const host = fields.some(({ name, value }) => name === 'host' && isLegalAuthority(Buffer.from(value)));
  if (authority === undefined) return host ? flat(fields) : [':authority', 'localhost', ...flat(fields)];
  const legal = isLegalAuthority(Buffer.from(authority.value));
  return flat(fields.map((field) => (field === authority && !legal ? { ...field, value: 'localhost' } : field)));
}

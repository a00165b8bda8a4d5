import { once } from 'node:events';
import { Agent } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AnswerTooLarge, answerTo, readAnswer, TextSink } from '../../../agent/attest/http-answer.ts';

const signal = new AbortController().signal;

let server: Server;
let agent: Agent;
/** What is done with the n-th request of a connection: both from 1. */
let serve: (socket: Socket, connection: number, request: number) => void;
let connections = 0;

beforeEach(async () => {
  connections = 0;
  agent = new Agent({ keepAlive: true, maxSockets: 1 });
  server = createServer((socket) => {
    connections += 1;
    const connection = connections;
    let requests = 0;
    socket.on('error', () => undefined);
    socket.on('data', () => {
      requests += 1;
      serve(socket, connection, requests);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(() => {
  agent.destroy();
  server.close();
});

function answering(text: string): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

async function ask(most = 1000): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const sink = new TextSink();
  const response = await answerTo({ agent, host: '127.0.0.1', port, path: '/', signal }, { secure: false });
  await readAnswer(response, most, sink);
  return sink.text;
}

it('is asked for again over a new connection where the one that was kept has just been given up', async () => {
  serve = (socket, connection, request) => {
    if (connection === 1 && request === 2) socket.resetAndDestroy();
    else socket.write(answering(`${connection}.${request}`));
  };
  expect(await ask()).toBe('1.1');
  expect(await ask()).toBe('2.1');
  expect(await ask()).toBe('2.2');
});

it('is not asked for again where a new connection is given up', async () => {
  serve = (socket) => socket.resetAndDestroy();
  await expect(ask()).rejects.toThrow('ECONNRESET');
  expect(connections).toBe(1);
});

it('is read up to its limit and no further, said ahead or not', async () => {
  serve = (socket) => socket.write(answering('12345678'));
  expect(await ask(8)).toBe('12345678');
  await expect(ask(7)).rejects.toBeInstanceOf(AnswerTooLarge);
  serve = (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n12345678');
  expect(await ask(8)).toBe('12345678');
  await expect(ask(7)).rejects.toThrow('answers with more than 7 bytes');
});

it('is read no further when it is not what was asked for, and its connection is used no more', async () => {
  let closed = false;
  serve = (socket) => {
    socket.on('close', () => (closed = true));
    socket.write('HTTP/1.1 200 OK\r\n\r\n<html>');
  };
  const { port } = server.address() as AddressInfo;
  const response = await answerTo({ agent, host: '127.0.0.1', port, path: '/', signal }, { secure: false });
  const taken = readAnswer(response, 1000, {
    push: () => {
      throw new Error('it is no JSON');
    },
    end: () => expect.unreachable(),
  });
  await expect(taken).rejects.toThrow('it is no JSON');
  await expect.poll(() => closed).toBe(true);
});

it('that breaks off has not been given', async () => {
  serve = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345');
  await expect(ask()).rejects.toThrow('aborted');
});

it('is no longer waited for when the signal says so', async () => {
  serve = () => undefined;
  const { port } = server.address() as AddressInfo;
  const abort = new AbortController();
  const asked = answerTo({ agent, host: '127.0.0.1', port, path: '/', signal: abort.signal }, { secure: false });
  abort.abort();
  await expect(asked).rejects.toThrow('aborted');
});

// A client of a socket that does what its input says, a line at a time, and answers each with a line.
import { spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const sockets: Socket[] = [];

async function obey([command = '', argument = '']: string[]): Promise<string> {
  switch (command) {
    case 'connect': {
      const socket = connect(argument);
      sockets.push(socket);
      socket.on('error', () => undefined);
      return new Promise((resolve) => {
        socket.once('connect', () => resolve('connected'));
        socket.once('error', (error) => resolve(String(error)));
      });
    }
    case 'setuid':
      process.setgid?.(Number(argument));
      process.setuid?.(Number(argument));
      return 'changed';
    case 'close':
      for (const socket of sockets.splice(0)) socket.destroy();
      return 'closed';
    case 'exec':
      process.execve?.('/bin/sh', ['sh', '-c', 'echo replaced; exec sleep 600'], process.env);
      return 'not replaced';
    case 'leave': {
      const child = spawn('/bin/sleep', ['600'], { stdio: ['ignore', 'ignore', 'ignore', sockets[0]], detached: true });
      child.unref();
      process.stdout.write(`${child.pid}\n`, () => process.exit(0));
      return '';
    }
    default:
      return 'what?';
  }
}

const once = process.argv[2];
if (once !== undefined) {
  await obey(['connect', once]);
  await obey(['leave']);
} else {
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = await obey(line.split(' '));
    if (answer !== '') process.stdout.write(`${answer}\n`);
  }
}

// Loaded into an agent with `--import`: sends it the signal that SIGNAL names when it is about to listen on its first socket.
import { Server } from 'node:net';

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const { listen } = Server.prototype;
Server.prototype.listen = function listenOnce(this: Server, ...args: unknown[]) {
  Server.prototype.listen = listen;
  process.kill(process.pid, process.env['SIGNAL']);
  return Reflect.apply(listen, this, args) as Server;
};

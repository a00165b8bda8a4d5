// Starts a program by posix_spawn(3): until that is executed, which waits for somebody at the other end of a pipe, a child runs this
// program in the memory of this process, and leaves it to this process then.
import koffi from 'koffi';

const [, , fifo = '', ...program] = process.argv;
const libc = koffi.load(null);
const prepare = libc.func('int posix_spawn_file_actions_init(void *)');
const addOpen = libc.func('int posix_spawn_file_actions_addopen(void *, int, str, int, uint)');
const spawn = libc.func('int posix_spawn(void *, str, void *, void *, void *, void *)');

const actions = Buffer.alloc(256);
prepare(actions);
addOpen(actions, 0, fifo, 0, 0);
const texts = program.map((text) => Buffer.from(`${text}\0`));
const argv = Buffer.alloc(8 * (texts.length + 1));
for (const [index, text] of texts.entries()) argv.writeBigUInt64LE(koffi.address(text), 8 * index);
process.stdout.write('starts\n');
const failure = spawn(Buffer.alloc(8), program[0], actions, null, argv, Buffer.alloc(8)) as number;
process.stdout.write(`started ${failure}\n`);
setInterval(() => undefined, 60_000);

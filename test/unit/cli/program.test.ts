import { Command } from 'commander';
import { expect, test } from 'vitest';
import { runProgram } from '../../../agent/cli/program.ts';
import { run, TestTerminal } from './transcript.ts';

test.each([
  [['frobnicate'], "unknown command 'frobnicate'; see mayfly --help"],
  [['ftch'], "unknown command 'ftch' (Did you mean fetch?); see mayfly --help"],
  [['fetch', 'x590'], "unknown command 'x590' (Did you mean x509?); see mayfly fetch --help"],
  [
    ['fetch', 'jwt', '--audiance', 'a'],
    "unknown option '--audiance' (Did you mean --audience?); see mayfly fetch jwt --help",
  ],
  [['fetch', 'jwt'], 'whom is the token for? give --audience'],
  [['validate'], 'whom must the token be for? give --audience'],
  [['fetch', 'jwt', '--audience', ''], '--audience: audience must be specified; see mayfly fetch jwt --help'],
  [['fetch', 'jwt', '--audience', 'a', '--spiffe-id', 'x'], '--spiffe-id: SPIFFE ID "x" does not start with spiffe://'],
  [['attest', 'x'], '"x" is no process number; see mayfly attest --help'],
  [['audit', 'tail', '-n', 'x'], '--lines: write a number up to 100000; see mayfly audit tail --help'],
  [['revoke', '--pid', '1', '--code', 'spite'], '--code: "spite" is none of keyCompromise, privilegeWithdrawn,'],
  [['watch', '--exec', ''], '--exec: it is empty; write a command, or leave the option out; see mayfly watch --help'],
  [['fetch', 'jwt', '--audience', 'a', '--raw', '--json'], '--raw and --json print in two ways; give one of them'],
  [['fetch', 'x509', 'more'], "too many arguments for 'x509'"],
  [['status', '--timeout', '5'], 'is no duration; write 30s, 5m, 1h30m or 7d; see mayfly --help'],
  [['status', '--timeout', '0s'], 'nothing is answered in no time; write 10s'],
  [['status', '--socket'], "option '--socket <path>' argument missing; see mayfly --help"],
  [['check'], 'no configuration is named; give --config FILE, or set MAYFLY_CONFIG'],
])('wrong usage %j is said in one sentence, with exit code 2', async (argv, sentence) => {
  const plain = await run(argv);
  expect(plain.code).toBe(2);
  if (!argv.includes('--json')) {
    expect(plain.stderr).toMatch(/^mayfly: [^\n]+\n$/);
    expect(plain.stderr).toContain(sentence);
  }
  expect(plain.stdout).toBe('');

  const json = await run(['--json', ...argv]);
  expect(json.code).toBe(2);
  expect(json.stdout).toBe('');
  const { error } = JSON.parse(json.stderr) as { error: { code: string; message: string } };
  expect(error.code).toBe('INVALID_USAGE');
  expect(error.message).toContain(sentence);
});

test('no command at all shows help as the error that it is', async () => {
  for (const [argv, usage] of [
    [[], 'Usage: mayfly [options] [command]'],
    [['fetch'], 'Usage: mayfly fetch [options] [command]'],
  ] as const) {
    const { code, stdout, stderr } = await run(argv);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(usage);

    const json = await run(['--json', ...argv]);
    expect(json.code).toBe(2);
    expect(json.stdout).toBe('');
    expect(JSON.parse(json.stderr)).toEqual({
      error: { code: 'INVALID_USAGE', message: `a command is missing; see ${['mayfly', ...argv].join(' ')} --help` },
    });
  }
});

test('help that was asked for is the result', async () => {
  for (const argv of [['--help'], ['help'], ['fetch', 'x509', '--help'], ['help', 'watch']]) {
    const { code, stdout, stderr } = await run(argv);
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: mayfly');
    expect(stdout).toContain('--json');
    expect(stderr).toBe('');
  }
});

test('only the command that is called is loaded', async () => {
  const loaded: string[] = [];
  const row = (name: string) => ({
    name,
    summary: name,
    load: () => {
      loaded.push(name);
      return Promise.resolve(new Command(name).action(() => {}));
    },
  });
  const rows = [row('one'), row('two')];
  expect(await runProgram(rows, ['--socket', 'one', '--json', 'two'], new TestTerminal())).toBe(0);
  expect(loaded).toEqual(['two']);
  expect(await runProgram(rows, ['--help'], new TestTerminal())).toBe(0);
  expect(loaded).toEqual(['two']);
});

test('a defect is shown with its stack, as JSON without, and fails', async () => {
  const rows = [
    {
      name: 'fail',
      summary: '',
      load: () =>
        Promise.resolve(
          new Command('fail').action(() => {
            throw new TypeError('x is undefined');
          }),
        ),
    },
  ];
  const plain = new TestTerminal();
  expect(await runProgram(rows, ['fail'], plain)).toBe(1);
  expect(plain.err).toContain('this is a defect of Mayfly, please report it: x is undefined\n');
  expect(plain.err).toContain('program.test.ts');
  const json = new TestTerminal();
  expect(await runProgram(rows, ['fail', '--json'], json)).toBe(1);
  expect(JSON.parse(json.err)).toEqual({
    error: { code: 'INTERNAL', message: 'this is a defect of Mayfly, please report it: x is undefined' },
  });
});

import { join } from 'node:path';
import { type OutputChunk, type Plugin, rolldown } from 'rolldown';
import type { Origin } from './origin.ts';

/** The program as one file. */
export interface Bundle {
  /** JavaScript in ASCII: V8 keeps two bytes for each character of a source that has a single one above Latin-1. */
  readonly code: string;
  /** The files that some of it comes from. */
  readonly from: readonly string[];
}

// What the worker is called where it is started, and what has to stand there for it to be found.
const WORKER = 'agent/peer/exit-worker.ts';
const STARTS_WORKER = 'agent/peer/exit-watch.ts';
const WORKER_URL = /\bnew URL\((['"])exit-worker\.ts\1, import\.meta\.url\)/g;
// As the bundler writes one: `import path, { join, sep as sep$1 } from "node:path";`
const IMPORT = /^import (?:((?:\* as )?[\w$]+)(?:, | ))?(?:(\{.*\}) )?from (".*");$/gm;
// Names that stand in for modules; none is a path.
const ENTRY = 'mayfly';
const EMBEDDED_WORKER = 'mayfly:exit-worker';

/**
 * Makes one file of the program and all that it needs but `koffi.node`, which is to lie beside it. What commands load only when they are
 * called stays unevaluated until then.
 *
 * @param root the repository's folder
 */
export async function bundle(root: string, origin: Origin): Promise<Bundle> {
  const worker = await bundled(root, join(root, WORKER), [nativePart('MAYFLY_FILE')], {});
  const define = { MAYFLY_BUILD: JSON.stringify(JSON.stringify(origin)) };
  const main = await bundled(root, ENTRY, [entry(root), nativePart('import.meta.url'), embedded(worker.code)], define);
  return { code: main.code, from: [...main.moduleIds, ...worker.moduleIds].filter((id) => id.startsWith(root)) };
}

async function bundled(
  root: string,
  input: string,
  plugins: readonly Plugin[],
  define: Readonly<Record<string, string>>,
): Promise<OutputChunk> {
  await using build = await rolldown({
    input,
    cwd: root,
    platform: 'node',
    plugins: [...plugins, noProtoLoader, builtinsAsTheyAre],
    transform: { define },
    // How long it takes depends on the machine.
    checks: { pluginTimings: false },
    // A warning is something that was not understood, and would be found out at run time.
    onLog: (_level, log) => {
      throw new Error(log.message);
    },
  });
  // Names stay as they are, so that the stack of a crash can be read; short ones would save a start 5 ms.
  const minify = { compress: true, mangle: false, codegen: { removeWhitespace: true } };
  const { output } = await build.generate({ format: 'esm', codeSplitting: false, comments: false, minify });
  const [chunk, ...others] = output;
  if (others.length > 0) throw new Error(`more than one file: ${others.map(({ fileName }) => fileName).join(', ')}`);
  return { ...chunk, code: ascii(chunk.code) };
}

/**
 * What comes first. The launcher tells the loader of a library that not every system has; the commands that Mayfly starts must not be
 * told of it.
 */
function entry(root: string): Plugin {
  const source = `import { join } from 'node:path';
const others = process.env.LD_LIBRARY_PATH?.split(':').filter((path) => path !== join(import.meta.dirname, 'lib'));
if (others?.length === 0) delete process.env.LD_LIBRARY_PATH;
else if (others !== undefined) process.env.LD_LIBRARY_PATH = others.join(':');
await import(${JSON.stringify(join(root, 'agent/main.ts'))});
`;
  return virtual(ENTRY, source);
}

/** koffi without its search for a native part: it lies beside the bundle, whose place is the value of `file`. */
function nativePart(file: string): Plugin {
  const source = `import { createRequire } from 'node:module';
export default createRequire(${file})('./koffi.node');
`;
  return virtual('koffi', source);
}

/**
 * The thread's program inside the main one's. As a file of its own it would be a second one; out of the same file each thread would
 * keep all of the program, which costs 15 MB.
 */
function embedded(worker: string): Plugin {
  const source = `const worker = ${JSON.stringify(worker)};
export const workerUrl = (file) =>
  new URL('data:text/javascript,' + encodeURIComponent('const MAYFLY_FILE = ' + JSON.stringify(file) + ';' + worker));
`;
  return {
    ...virtual(EMBEDDED_WORKER, source),
    transform(code, id) {
      if (!id.endsWith(STARTS_WORKER)) return undefined;
      if (code.match(WORKER_URL)?.length !== 1) throw new Error(`${id} starts no worker that is known`);
      const started = code.replace(WORKER_URL, 'workerUrl(import.meta.url)');
      return `import { workerUrl } from ${JSON.stringify(EMBEDDED_WORKER)};\n${started}`;
    },
  };
}

/**
 * grpc-js would load it for the protocols of channelz and ORCA, which nobody offers here. With it come a second implementation of
 * protobuf and a tenth of the program.
 */
const noProtoLoader = virtual('@grpc/proto-loader', 'export {};');

/**
 * Node's modules without their imports: an import evaluates all that a module exports, and Node loads for each of these what it loads
 * on demand otherwise. Each start would take 6 ms longer, and the agent 2 MB.
 */
const builtinsAsTheyAre: Plugin = {
  name: 'builtins-as-they-are',
  renderChunk(code) {
    const [imports = ''] = /^(?:import .*;\n)*/.exec(code) ?? [];
    const got = imports.replaceAll(IMPORT, (_, module: string | undefined, names: string | undefined, from: string) => {
      const all = [module?.replace('* as ', ''), names?.replaceAll(' as ', ': ')].filter((it) => it !== undefined);
      return all.map((it) => `const ${it} = globalThis.process.getBuiltinModule(${from});`).join(' ');
    });
    return got + code.slice(imports.length);
  },
};

function virtual(name: string, source: string): Plugin {
  return {
    name,
    resolveId: (id) => (id === name ? `\0${name}` : undefined),
    load: (id) => (id === `\0${name}` ? source : undefined),
  };
}

/** Escapes mean the same in strings, templates, regular expressions and names, which is all that is left after comments. */
function ascii(code: string): string {
  return code.replaceAll(/[^\0-~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

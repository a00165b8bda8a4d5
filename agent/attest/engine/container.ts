import * as v from 'valibot';
import { type Selector, selector } from '../../kernel/selector.ts';
import { namedTexts } from '../named-texts.ts';

/** What is kept of a container's record. */
export interface Container {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Whether it runs; one that is paused does. */
  readonly runs: boolean;
  /** The number of its first process in the engine's pid namespace; 0 when it does not run. */
  readonly pid: number;
  /** The engine's time of this start of it. */
  readonly started: string;
  readonly selectors: readonly Selector[];
}

// Go writes null for what is empty.
const optionalText = v.nullish(v.string(), '');
const record = v.object({
  Id: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  Image: optionalText,
  State: v.object({
    Running: v.boolean(),
    Paused: v.nullish(v.boolean(), false),
    Pid: v.pipe(v.number(), v.integer(), v.minValue(0)),
    StartedAt: v.pipe(v.string(), v.isoTimestamp()),
  }),
  Config: v.object({
    Image: optionalText,
    Env: v.nullish(v.array(v.string()), []),
    Labels: v.nullish(namedTexts, {}),
  }),
});

type Config = v.InferOutput<typeof record>['Config'];

/**
 * Reads a container's record, as the engine's API has it, and keeps what attestation needs.
 *
 * @throws Error when it is none
 */
export function parseContainer(json: unknown): Container {
  const parsed = v.safeParse(record, json);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new Error(`the record has no proper ${v.getDotPath(issue) ?? 'form'}: ${issue.message}`);
  }
  const { Id: id, Image: image, State: state, Config: config } = parsed.output;
  return {
    id,
    runs: (state.Running || state.Paused) && state.Pid > 0,
    pid: state.Pid,
    started: state.StartedAt,
    selectors: selectorsOf(config, image),
  };
}

/**
 * Those of SPIRE, in its spelling. Which image the container was made from is what its record says; SPIRE asks for the image of that
 * name, which may have come to be another one since.
 */
function selectorsOf({ Env: env, Image: name, Labels: labels }: Config, image: string): readonly Selector[] {
  return [
    ...Object.entries(labels).map(([key, value]) => selector('docker', 'label', key, value)),
    ...env.filter((variable) => variable !== '').map((variable) => selector('docker', 'env', variable)),
    ...(name === '' ? [] : [selector('docker', 'image_id', name)]),
    ...(image === '' ? [] : [selector('docker', 'image_config_digest', image)]),
  ];
}

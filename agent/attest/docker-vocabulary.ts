import type { Selector } from '../kernel/selector.ts';
import type { SelectorName, SelectorNames, Vocabulary } from './vocabulary.ts';

/** What of the configuration decides who says `docker:` selectors. */
export interface DockerSelectors {
  readonly docker: { readonly enabled: boolean };
  readonly podman: { readonly enabled: boolean };
}

interface Word extends SelectorName {
  readonly value: RegExp;
  readonly allowed: string;
}

const WORDS: Readonly<Record<string, Word>> = {
  label: {
    values: 'one',
    key: ':',
    example: 'shop',
    value: /^[^:]+:/s,
    allowed: 'the key of a label, ":" and its value',
  },
  env: {
    values: 'one',
    key: '=',
    example: 'production',
    value: /^[^=]+=/s,
    allowed: 'a variable, "=" and its value',
  },
  image_id: {
    values: 'one',
    example: 'registry.example.org/shop/payments:1.0',
    value: /./s,
    allowed: 'an image as the container was started with it',
  },
  image_config_digest: {
    values: 'one',
    example: `sha256:${'0f'.repeat(32)}`,
    value: /^sha256:[0-9a-f]{64}$/,
    allowed: 'sha256: and 64 lower-case hexadecimal digits',
  },
};

const NAMES: SelectorNames = new Map(Object.entries(WORDS));

/** Whether a selector may hold what nobody else is to see: a container's environment is where its passwords are. */
export function mayBeSecret(selector: Selector): boolean {
  return selector.startsWith('docker:env:');
}

/** A selector as it may be shown to whoever asks: a variable without its value. */
export function withoutSecret(selector: Selector): string {
  return mayBeSecret(selector) ? selector.replace(/=.*$/s, '=(hidden)') : selector;
}

/** What the docker and podman attestors say. */
export function dockerVocabulary(says: DockerSelectors): Vocabulary {
  return {
    types: ['docker'],
    names: new Map([['docker', NAMES]]),
    neverSaid: (selector) => neverSaid(selector, says),
  };
}

function neverSaid(selector: Selector, { docker, podman }: DockerSelectors): string | undefined {
  if (!docker.enabled && !podman.enabled) {
    return 'never matches: attestors.docker.enabled and attestors.podman.enabled are false';
  }
  const [, name = '', ...rest] = selector.split(':');
  const word = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
  if (word === undefined) return `names nothing that docker says; it says ${Object.keys(WORDS).join(', ')}`;
  return word.value.test(rest.join(':')) ? undefined : `never matches: docker:${name} takes ${word.allowed}`;
}

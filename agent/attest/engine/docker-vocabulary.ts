import type { Selector } from '../../kernel/selector.ts';
import type { Vocabulary } from '../vocabulary.ts';
import { vocabularyOfWords, type Word } from '../word.ts';

/** What of the configuration decides who says `docker:` selectors. */
export interface DockerSelectors {
  readonly docker: { readonly enabled: boolean };
  readonly podman: { readonly enabled: boolean };
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

/** Whether a selector may hold what nobody else is to see: a container's environment is where its passwords are. */
export function mayBeSecret(selector: Selector): boolean {
  return selector.startsWith('docker:env:');
}

/** A selector as it may be shown to whoever asks: a variable without its value. */
export function withoutSecret(selector: Selector): string {
  return mayBeSecret(selector) ? selector.replace(/=.*$/s, '=(hidden)') : selector;
}

/** What the docker and podman attestors say. */
export function dockerVocabulary({ docker, podman }: DockerSelectors): Vocabulary {
  return vocabularyOfWords('docker', WORDS, () =>
    docker.enabled || podman.enabled ? undefined : 'attestors.docker.enabled and attestors.podman.enabled are false',
  );
}

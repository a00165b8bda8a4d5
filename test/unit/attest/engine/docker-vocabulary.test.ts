import { expect, it } from 'vitest';
import { dockerVocabulary, mayBeSecret, withoutSecret } from '../../../../agent/attest/engine/docker-vocabulary.ts';
import { parseSelector } from '../../../../agent/kernel/selector.ts';

const OFF = { enabled: false };
const ON = { enabled: true };
const BOTH = dockerVocabulary({ docker: ON, podman: ON });

it.each([
  'docker:label:com.example.name:foo',
  'docker:label:empty:',
  'docker:env:ENVIRONMENT=prod',
  'docker:env:URL=http://a:1/?b=c',
  'docker:image_id:envoyproxy/envoy:contrib-v1.29.1',
  `docker:image_config_digest:sha256:${'9f'.repeat(32)}`,
])('%s may be said, by either', (text) => {
  const selector = parseSelector(text);
  expect(BOTH.neverSaid(selector)).toBeUndefined();
  expect(dockerVocabulary({ docker: ON, podman: OFF }).neverSaid(selector)).toBeUndefined();
  expect(dockerVocabulary({ docker: OFF, podman: ON }).neverSaid(selector)).toBeUndefined();
});

it.each([
  ['docker:label:tier', 'never matches: docker:label takes the key of a label, ":" and its value'],
  ['docker:label:tier=web', 'never matches: docker:label takes the key of a label, ":" and its value'],
  ['docker:env:PATH', 'never matches: docker:env takes a variable, "=" and its value'],
  ['docker:env:PATH:/bin', 'never matches: docker:env takes a variable, "=" and its value'],
  ['docker:image_id:', 'never matches: docker:image_id takes an image as the container was started with it'],
  [
    'docker:image_config_digest:1d3b7f56885b',
    'never matches: docker:image_config_digest takes sha256: and 64 lower-case hexadecimal digits',
  ],
  ['docker:image-config-digest:x', 'names nothing that docker says; it says label, env, image_id, image_config_digest'],
  ['docker:constructor:x', 'names nothing that docker says; it says label, env, image_id, image_config_digest'],
])('%s never is', (text, sentence) => {
  expect(BOTH.neverSaid(parseSelector(text))).toBe(sentence);
});

it('says nothing while both are off, and says so', () => {
  expect(dockerVocabulary({ docker: OFF, podman: OFF }).neverSaid(parseSelector('docker:label:a:b'))).toBe(
    'never matches: attestors.docker.enabled and attestors.podman.enabled are false',
  );
});

it('takes what stands in an environment for a secret, and nothing else', () => {
  expect(mayBeSecret(parseSelector('docker:env:PASSWORD=1'))).toBe(true);
  expect(mayBeSecret(parseSelector('docker:label:env:1'))).toBe(false);
  expect(withoutSecret(parseSelector('docker:env:PASSWORD=a=b\nc'))).toBe('docker:env:PASSWORD=(hidden)');
  expect(withoutSecret(parseSelector('docker:label:a:b=c'))).toBe('docker:label:a:b=c');
});

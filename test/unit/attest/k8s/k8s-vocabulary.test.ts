import { describe, expect, it, test } from 'vitest';
import { type K8sSelectors, k8sVocabulary } from '../../../../agent/attest/k8s/k8s-vocabulary.ts';
import { parseSelector } from '../../../../agent/kernel/selector.ts';

const UID = '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0';

const ALL: K8sSelectors = { enabled: true, enableNamespaceLabels: true, disableContainerSelectors: false };

function neverSaid(text: string, says: Partial<K8sSelectors> = {}): string | undefined {
  return k8sVocabulary({ ...ALL, ...says }).neverSaid(parseSelector(text));
}

describe('what the k8s attestor may say', () => {
  it.each([
    'ns:shop',
    'ns-label:pod-security.kubernetes.io/enforce:restricted',
    'sa:payments.internal',
    'node-name:node-1.example.org',
    'pod-name:pay-7d9f-x2x4z',
    `pod-uid:${UID}`,
    'pod-uid:5f9bd9a3c1d8e7f60123456789abcdef',
    'pod-label:app:pay',
    'pod-label:example.org/tier:',
    'pod-owner:ReplicaSet:pay-7d9f',
    `pod-owner-uid:ReplicaSet:${UID}`,
    'pod-image:registry.example.org:5000/pay:1.0',
    `pod-image:registry.example.org/pay@sha256:${'0'.repeat(64)}`,
    'pod-image-count:2',
    'pod-init-image:busybox',
    'pod-init-image-count:0',
    'container-name:pay',
    'container-image:docker.io/library/busybox:latest',
  ])('k8s:%s', (value) => {
    expect(neverSaid(`k8s:${value}`)).toBeUndefined();
  });
});

describe('what it never says', () => {
  it.each([
    ['namespace:shop', 'names nothing that k8s says; it says ns, ns-label, sa,'],
    ['toString:x', 'names nothing that k8s says'],
    ['ns:Shop', 'takes a name of lower-case letters'],
    ['ns:', 'takes a name of lower-case letters'],
    ['pod-uid:42', 'takes a uid'],
    ['pod-label:app', 'takes the key of a label, ":" and its value'],
    ['pod-label:app:a b', 'takes the key of a label'],
    ['pod-owner:pay', 'takes the kind of an owner'],
    ['pod-image-count:two', 'takes a decimal number'],
    ['container-image:', 'takes an image as the kubelet lists it'],
  ])('k8s:%s', (value, why) => {
    expect(neverSaid(`k8s:${value}`)).toContain(why);
  });

  test('a label of a namespace unless these are asked for', () => {
    expect(neverSaid('k8s:ns-label:team:pay', { enableNamespaceLabels: false })).toContain(
      'enable_namespace_labels is false',
    );
    expect(neverSaid('k8s:ns:pay', { enableNamespaceLabels: false })).toBeUndefined();
  });

  test('a container, where a process is what its pod is', () => {
    for (const name of ['container-name', 'container-image']) {
      expect(neverSaid(`k8s:${name}:pay`, { disableContainerSelectors: true })).toBe(
        'never matches: attestors.k8s.disable_container_selectors is true',
      );
    }
  });

  test('anything while it is off', () => {
    expect(neverSaid('k8s:ns:shop', { enabled: false })).toBe('never matches: attestors.k8s.enabled is false');
  });
});

test('each name has an example that it may say, and every one of them can be asked for', () => {
  const names = [...(k8sVocabulary(ALL).names.get('k8s') ?? [])];
  expect(names.length).toBeGreaterThan(10);
  for (const [name, { example, key }] of names) {
    expect(neverSaid(`k8s:${name}:${key === undefined ? '' : `Key${key}`}${example}`), name).toBeUndefined();
  }
});

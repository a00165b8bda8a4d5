import type { Vocabulary } from '../vocabulary.ts';
import { vocabularyOfWords, type Word } from '../word.ts';

/** What of the configuration decides what the k8s attestor says. */
export interface K8sSelectors {
  readonly enabled: boolean;
  readonly enableNamespaceLabels: boolean;
  readonly disableContainerSelectors: boolean;
}

const COUNT: Word = { values: 'one', example: '2', value: /^(0|[1-9][0-9]{0,4})$/, allowed: 'a decimal number' };
const UID: Word = {
  values: 'one',
  example: '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0',
  value: /^[0-9a-f-]{32,36}$/,
  allowed: 'a uid',
};
const LABEL_NAME: Word = {
  values: 'one',
  example: 'shop',
  value: /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
  allowed: 'a name of lower-case letters, digits and "-"',
};
const OBJECT_NAME: Word = {
  values: 'one',
  example: 'payments-7d9f.internal',
  value: /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/,
  allowed: 'a name of lower-case letters, digits, "-" and "."',
};
const IMAGE: Word = {
  values: 'several',
  example: 'registry.example.org/shop/payments:1.0',
  value: /^\S+$/,
  allowed: 'an image as the kubelet lists it, by name or by digest',
};
const LABEL: Word = {
  values: 'one',
  key: ':',
  example: 'Payments_1.0',
  value:
    /^([-a-z0-9.]{1,253}\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?:([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/,
  allowed: 'the key of a label, ":" and its value',
};
const OWNER: Word = {
  values: 'several',
  key: ':',
  example: 'payments-7d9f.internal',
  value: /^[A-Za-z][A-Za-z0-9]*:\S+$/,
  allowed: 'the kind of an owner, ":" and its name',
};
const OWNER_UID: Word = {
  ...OWNER,
  example: UID.example,
  value: /^[A-Za-z][A-Za-z0-9]*:[0-9a-f-]{32,36}$/,
  allowed: 'the kind of an owner, ":" and its uid',
};

const WORDS: Readonly<Record<string, Word>> = {
  ns: LABEL_NAME,
  'ns-label': LABEL,
  sa: OBJECT_NAME,
  'pod-name': OBJECT_NAME,
  'pod-uid': UID,
  'pod-label': LABEL,
  'pod-owner': OWNER,
  'pod-owner-uid': OWNER_UID,
  'pod-image': IMAGE,
  'pod-image-count': COUNT,
  'pod-init-image': IMAGE,
  'pod-init-image-count': COUNT,
  'container-name': LABEL_NAME,
  'container-image': IMAGE,
  'node-name': OBJECT_NAME,
};

const OF_CONTAINERS: ReadonlySet<string> = new Set(['container-name', 'container-image']);

/** What the k8s attestor says, set up like this. */
export function k8sVocabulary(says: K8sSelectors): Vocabulary {
  return vocabularyOfWords('k8s', WORDS, (name) => {
    if (!says.enabled) return 'attestors.k8s.enabled is false';
    if (name === 'ns-label' && !says.enableNamespaceLabels) {
      return 'attestors.k8s.enable_namespace_labels is false';
    }
    return OF_CONTAINERS.has(name) && says.disableContainerSelectors
      ? 'attestors.k8s.disable_container_selectors is true'
      : undefined;
  });
}

import type { Values } from './helm.ts';

export const METRICS: Values = { metrics: { enabled: true } };
const MONITOR = { metrics: { enabled: true, podMonitor: { enabled: true } } };
const RULES = { metrics: { enabled: true, rules: { enabled: true } } };
export const DASHBOARD: Values = { metrics: { enabled: true, dashboard: { enabled: true } } };
const CSI = { csi: { enabled: true } };
const POLICY = { networkPolicy: { enabled: true }, ...METRICS };

/** Another value for each that the chart has, by its path, and what has to be said as well for it to count. */
export const CHANGES: Readonly<Record<string, readonly [value: unknown, besides?: Values]>> = {
  trustDomain: ['example.com'],
  'image.repository': ['registry.example.com/mayfly'],
  'image.tag': ['9.9.9'],
  'image.digest': [`sha256:${'0'.repeat(64)}`],
  'image.pullPolicy': ['Always'],
  'image.pullSecrets': [[{ name: 'registry' }]],
  'serviceAccountIdentities.enabled': [false],
  'serviceAccountIdentities.entry': [{ owner: 'platform@example.org', x509_svid_ttl: '30m' }],
  entries: [[{ id: 'web', spiffe_id: 'spiffe://example.org/web', selectors: ['k8s:ns:web'] }]],
  existingEntries: ['ours'],
  config: [{ log_level: 'debug', attestors: { unix: { sha256: true } } }],
  socketDir: ['/run/spiffe'],
  dataDir: ['/var/lib/spiffe'],
  'csi.enabled': [true],
  'csi.name': ['csi.mayfly.example.org', CSI],
  'csi.kubeletDir': ['/var/lib/k0s/kubelet', CSI],
  'csi.image.repository': ['registry.example.com/spiffe-csi-driver', CSI],
  'csi.image.tag': ['9.9.9', CSI],
  'csi.image.digest': [`sha256:${'1'.repeat(64)}`, CSI],
  'csi.image.pullPolicy': ['Always', CSI],
  'csi.resources': [{ limits: { memory: '128Mi' } }, CSI],
  'csi.registrar.image.repository': ['registry.example.com/registrar', CSI],
  'csi.registrar.image.tag': ['v9.9.9', CSI],
  'csi.registrar.image.digest': [`sha256:${'2'.repeat(64)}`, CSI],
  'csi.registrar.image.pullPolicy': ['Never', CSI],
  'csi.registrar.resources': [{ limits: { memory: '32Mi' } }, CSI],
  'kubelet.port': [10251],
  'kubelet.address': ['nodeName'],
  'kubelet.caFile': ['/var/lib/kubelet/pki/kubelet.crt'],
  'kubelet.skipVerification': [true],
  namespaceLabels: [true],
  hostNetwork: [true],
  'metrics.enabled': [true],
  'metrics.port': [9100, METRICS],
  'metrics.podMonitor.enabled': [true, METRICS],
  'metrics.podMonitor.interval': ['1m', MONITOR],
  'metrics.podMonitor.labels': [{ release: 'prometheus' }, MONITOR],
  'metrics.rules.enabled': [true, METRICS],
  'metrics.rules.labels': [{ release: 'prometheus' }, RULES],
  'metrics.dashboard.enabled': [true, METRICS],
  'metrics.dashboard.labels': [{ 'example.org/dashboard': 'yes' }, DASHBOARD],
  'metrics.dashboard.annotations': [{ grafana_folder: 'Identities' }, DASHBOARD],
  'networkPolicy.enabled': [true],
  'networkPolicy.metricsFrom': [[{ namespaceSelector: { matchLabels: { of: 'prometheus' } } }], POLICY],
  'networkPolicy.nodeCidrs': [['10.0.0.0/8'], POLICY],
  'serviceAccount.create': [false],
  'serviceAccount.name': ['agent'],
  'serviceAccount.annotations': [{ 'example.org/a': 'b' }],
  'rbac.create': [false],
  'rbac.resource': ['nodes/proxy'],
  'namespace.create': [true],
  capabilities: [['SYS_PTRACE']],
  appArmorProfile: [{ type: 'Localhost', localhostProfile: 'mayfly' }],
  seLinuxOptions: [{ type: 'spc_t' }],
  resources: [{ limits: { memory: '1Gi' } }],
  priorityClassName: ['node-agents'],
  nodeSelector: [{ 'example.org/agent': 'true' }],
  tolerations: [[{ key: 'gpu', operator: 'Exists' }]],
  affinity: [{ nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms() } }],
  podAnnotations: [{ 'example.org/a': 'b' }],
  podLabels: [{ tier: 'node' }],
  maxUnavailable: ['25%'],
  terminationGracePeriodSeconds: [20],
};

/** All of them at once. */
export const ALL: Values = Object.entries(CHANGES).reduce((values, [path, [value]]) => merged(values, path, value), {});

/** The values with another at that path. */
export function merged(values: Values, path: string, value: unknown): Values {
  const [key = '', ...rest] = path.split('.');
  const inner = rest.length === 0 ? value : merged((values[key] ?? {}) as Values, rest.join('.'), value);
  return { ...values, [key]: inner };
}

function terms() {
  return {
    nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/arch', operator: 'In', values: ['amd64'] }] }],
  };
}

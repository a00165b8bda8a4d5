import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { mayfly } from '../../support/daemon.ts';
import { MONITORING } from '../../support/monitoring.ts';
import { commandOf, equipped } from '../equipment.ts';
import { ALL, CHANGES, METRICS, merged } from './changed-values.ts';
import { CHART, CSI_MANIFESTS, MANIFESTS, plainManifests, render, type Values } from './helm.ts';
import { decodeStrictly, manifestOf, parseManifests } from './manifests.ts';

const { helm: helmEquipment, manifests: decoderEquipment } = inject('kubernetes');

/** What no value may be, with what is said of it. */
const REFUSED: readonly (readonly [values: Values, says: RegExp])[] = [
  [{ trustDomains: 'example.org' }, /'trustDomains' not allowed/],
  [{ image: { name: 'mayfly' } }, /'name' not allowed/],
  [{ trustDomain: 'spiffe://example.org' }, /\/trustDomain/],
  [{ socketDir: 'run/mayfly' }, /\/socketDir/],
  [{ rbac: { resource: '*' } }, /\/rbac\/resource/],
  [{ maxUnavailable: 0 }, /\/maxUnavailable/],
  [{ kubelet: { address: 'loopback' } }, /\/hostNetwork/],
  [{ csi: { name: 'csi_spiffe' } }, /\/csi\/name/],
  [{ csi: { image: { tag: '' } } }, /\/csi\/image\/tag/],
];

equipped('the chart', [helmEquipment, decoderEquipment], () => {
  const [helm] = commandOf(helmEquipment);
  const [decoder] = commandOf(decoderEquipment);

  it('is clean to helm lint', () => {
    const said = execFileSync(helm, ['lint', '--strict', CHART], { encoding: 'utf8' });
    expect(said).toContain('1 chart(s) linted, 0 chart(s) failed');
  });

  it('says what the plain manifests say', async () => {
    const plain = await plainManifests(helm);
    const kinds = Object.entries(plain).map(([file, manifests]) => {
      expect(readFileSync(file, 'utf8'), 'out of date: npm run manifests').toBe(manifests);
      return [file, decodeStrictly(decoder, manifests)];
    });
    const ofAgent = ['ServiceAccount', 'ConfigMap', 'ConfigMap', 'ClusterRole', 'ClusterRoleBinding', 'DaemonSet'];
    expect(kinds).toEqual([
      [MANIFESTS, ['Namespace', ...ofAgent]],
      [CSI_MANIFESTS, ['CSIDriver', 'DaemonSet']],
    ]);
  });

  it('is of the version of the program', () => {
    const { version } = JSON.parse(readFileSync(join(CHART, '../../../package.json'), 'utf8')) as Values;
    expect(parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'))).toMatchObject({ version, appVersion: version });
  });

  it('has a change for each of its values', () => {
    const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Values;
    const schema = readSchema();
    expect(Object.keys(CHANGES).toSorted()).toEqual(leavesOf(values, schema, schema.definitions).toSorted());
  });

  it.each(Object.entries(CHANGES))('renders %s, and heeds it', async (path, [value, besides = {}]) => {
    const without = await render(helm, besides);
    const changed = await render(helm, merged(besides, path, value));
    expect(changed).not.toBe(without);
    expect(decodeStrictly(decoder, changed).length).toBe(parseManifests(changed).length);
  });

  it('renders all of them at once', async () => {
    const kinds = decodeStrictly(decoder, await render(helm, ALL));
    expect(kinds).toEqual(expect.arrayContaining(['PodMonitor', 'PrometheusRule', 'CSIDriver']));
  });

  it.each([
    ['its defaults', {}],
    ['metrics', METRICS],
    ['all changes', ALL],
  ])('configures an agent by %s as that takes it', async (_name, values) => {
    await expectAgentTakes(await render(helm, values));
  });

  it.each(REFUSED)('refuses %j', async (values, says) => {
    await expect(render(helm, values)).rejects.toThrow(says);
  });

  it('decodes nothing that the API would not take', async () => {
    const misspelt = (await render(helm)).replace('hostPID:', 'hostPid:');
    expect(() => decodeStrictly(decoder, misspelt)).toThrow('unknown field "spec.template.spec.hostPid"');
  });

  it('asks for no right that it can do without', async () => {
    const rendered = await render(helm);
    expect(manifestOf(rendered, 'ClusterRole')['rules']).toEqual([
      { apiGroups: [''], resources: ['nodes/pods'], verbs: ['get'] },
    ]);
    expect(manifestOf(rendered, 'DaemonSet')).toMatchObject({
      spec: {
        template: {
          spec: {
            hostPID: true,
            hostNetwork: false,
            securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
            containers: [
              {
                securityContext: {
                  privileged: false,
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ['ALL'], add: ['DAC_READ_SEARCH', 'SYS_PTRACE'] },
                },
              },
            ],
          },
        },
      },
    });
  });

  it('mounts by what has no token and sees no process of the node, and is taken for no agent', async () => {
    const rendered = await render(helm, { csi: { enabled: true } });
    const { template } = daemonSetOf(rendered, 'mayfly-csi');
    const { metadata, spec } = template;
    expect(spec).not.toHaveProperty('hostPID');
    expect(spec).not.toHaveProperty('serviceAccountName');
    expect(spec).toMatchObject({
      automountServiceAccountToken: false,
      containers: [
        { name: 'driver', securityContext: { privileged: true, readOnlyRootFilesystem: true } },
        {
          name: 'registrar',
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        },
      ],
    });
    expect(metadata.labels).not.toMatchObject(daemonSetOf(rendered, 'mayfly').selector.matchLabels);
  });

  it('installs the alert rules and the dashboard that there are', async () => {
    const rendered = await render(helm, {
      metrics: { enabled: true, rules: { enabled: true }, dashboard: { enabled: true } },
    });
    expect(manifestOf(rendered, 'PrometheusRule')['spec']).toEqual(
      parse(readFileSync(join(MONITORING, 'alerts.yaml'), 'utf8')),
    );
    const { data, metadata } = manifestOf(rendered, 'ConfigMap', 'mayfly-dashboard');
    expect(data).toEqual({ 'mayfly.json': readFileSync(join(MONITORING, 'grafana-dashboard.json'), 'utf8') });
    expect(metadata).toMatchObject({ labels: { grafana_dashboard: '1' } });
  });
});

interface DaemonSetSpec {
  readonly selector: { readonly matchLabels: object };
  readonly template: { readonly metadata: { readonly labels: object }; readonly spec: object };
}

function daemonSetOf(rendered: string, name: string): DaemonSetSpec {
  return manifestOf(rendered, 'DaemonSet', name)['spec'] as DaemonSetSpec;
}

interface Schema {
  readonly $ref?: string;
  readonly definitions?: Readonly<Record<string, Schema>>;
  readonly properties?: Readonly<Record<string, Schema>>;
}

function readSchema(): Schema {
  return JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8')) as Schema;
}

/** The paths of all values; where the schema names no keys of an object, it is one value. */
function leavesOf(values: Values, { properties = {} }: Schema, definitions: Schema['definitions'] = {}): string[] {
  return Object.entries(values).flatMap(([key, value]) => {
    const said = properties[key];
    const schema = definitions[said?.$ref?.replace('#/definitions/', '') ?? ''] ?? said;
    if (schema?.properties === undefined) return [key];
    return leavesOf(value as Values, schema, definitions).map((leaf) => `${key}.${leaf}`);
  });
}

/** The configuration and the entries of the ConfigMaps, laid out as in the agent's container, are what an agent starts with. */
async function expectAgentTakes(rendered: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-chart-'));
  try {
    for (const { kind, metadata, data = {} } of parseManifests(rendered)) {
      if (kind !== 'ConfigMap') continue;
      const volume = join(directory, metadata.name.replace(/^mayfly-/, ''));
      mkdirSync(volume);
      for (const [name, text] of Object.entries(data)) writeFileSync(join(volume, name), text);
    }
    const { code, stdout, stderr } = await mayfly(['check', '--config', join(directory, 'config', 'mayfly.yaml')]);
    expect(stderr).toBe('');
    expect(stdout).toContain(', 0 warnings');
    expect(code).toBe(0);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

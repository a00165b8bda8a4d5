import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Equipment } from '../equipment.ts';
import { built, tool } from '../toolchains.ts';
import { saveAgentImage } from './agent-image.ts';
import { DRIVER, nameOf, REGISTRAR } from './csi.ts';
import { unpackPackages } from './debian.ts';
import { programImage, workloadImage } from './image.ts';

const here = import.meta.dirname;
const VERSION = 'v1.34.0';
// Kubernetes of source, on two cores and with nothing compiled yet, takes eight minutes.
const BUILD_MS = 40 * 60_000;

/** What a cluster is made of: paths. */
export interface NodePrograms {
  /** All programs of a node in one. */
  readonly node: string;
  /** Where Debian's packages are unpacked. */
  readonly debian: string;
  /** The image of workloads, in a file. */
  readonly workloadImage: string;
  /** The images of the CSI driver and of what tells the kubelet of it, in files. */
  readonly csiImages: readonly [driver: string, registrar: string];
  /** The image of the agent, in a file. */
  readonly agentImage: string;
}

/** Where things are built, and stay, since that takes longer than the tests do. */
function placeOf(name: string): string {
  const out = join(here, '..', 'out', 'kubernetes');
  mkdirSync(out, { recursive: true });
  return join(out, name);
}

export const NODE_PROGRAMS: NodePrograms = {
  node: placeOf('node'),
  debian: join(placeOf('debian'), 'root'),
  workloadImage: placeOf('workload.tar'),
  csiImages: [placeOf('csi-driver.tar'), placeOf('csi-registrar.tar')],
  agentImage: placeOf('agent.tar'),
};

/** What the programs of the last cluster have written. */
export const NODE_LOGS: string = placeOf('logs');

/** Everything of {@link NODE_PROGRAMS}. */
export function nodeTools(): Promise<Equipment> {
  const tools = ['go', 'apt-get', 'dpkg-deb', 'openssl', 'unshare', 'nsenter', 'ip'];
  return built(tools, [NODE_PROGRAMS.node], async () => {
    await unpackPackages(placeOf('debian'));
    // The programs refuse to work with others of an unknown version.
    const stamps = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((path) => [
      `-X ${path}.gitVersion=${VERSION}`,
      `-X ${path}.gitMajor=1`,
      `-X ${path}.gitMinor=34`,
    ]);
    await goBuild('node', NODE_PROGRAMS.node, ['.'], stamps);
    const workload = placeOf('workload');
    await goBuild('../go', workload, ['./held']);
    writeFileSync(NODE_PROGRAMS.workloadImage, workloadImage(NODE_PROGRAMS.debian, workload));
    const [driver, registrar] = [placeOf('csi-driver'), placeOf('csi-registrar')];
    await goBuild('csi', driver, ['github.com/spiffe/spiffe-csi/cmd/spiffe-csi-driver']);
    await goBuild('csi', registrar, ['./registrar']);
    const [driverImage, registrarImage] = NODE_PROGRAMS.csiImages;
    writeFileSync(driverImage, programImage(nameOf(DRIVER), driver));
    writeFileSync(registrarImage, programImage(nameOf(REGISTRAR), registrar));
  });
}

/** The agent as it is now. */
export function agentImageFile(): Promise<Equipment> {
  const { agentImage } = NODE_PROGRAMS;
  const tools = ['docker', 'dockerd', 'containerd', 'runc', 'dpkg-deb', 'npm', 'unshare'];
  return built(tools, [agentImage], () => saveAgentImage(agentImage, placeOf('agent')));
}

/** Helm, and beside it what decodes manifests. */
export function helmProgram(): Promise<Equipment> {
  const helm = placeOf('helm');
  // What it takes a cluster for that it does not ask.
  const stamps = ['helm.sh/helm/v3/pkg/chartutil', 'helm.sh/helm/v3/pkg/lint/rules'].flatMap((path) => [
    `-X ${path}.k8sVersionMajor=1`,
    `-X ${path}.k8sVersionMinor=34`,
  ]);
  return built(['go'], [helm], () => goBuild('chart', helm, ['helm.sh/helm/v3/cmd/helm'], stamps));
}

export function manifestDecoder(): Promise<Equipment> {
  const decoder = placeOf('manifests');
  return built(['go'], [decoder], () => goBuild('chart', decoder, ['./manifests']));
}

/** Builds static programs, without the paths of this machine in them. */
function goBuild(module: string, to: string, packages: readonly string[], stamps: readonly string[] = []) {
  const flags = ['-trimpath', '-ldflags', ['-s', '-w', ...stamps].join(' '), '-o', to];
  return tool('env', ['CGO_ENABLED=0', 'go', 'build', ...flags, ...packages], join(here, module), BUILD_MS);
}

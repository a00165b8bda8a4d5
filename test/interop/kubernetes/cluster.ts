import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerdConfig, networkConfig } from './container-runtime.ts';
import { WORKLOAD_IMAGE } from './image.ts';
import { Kubectl } from './kubectl.ts';
import { kubeletConfig } from './kubelet.ts';
import { ADDRESS, Machine, type MachineProgram, SERVICE } from './machine.ts';
import { makePki } from './pki.ts';
import type { NodePrograms } from './toolchain.ts';

/** The name of the only node. */
export const NODE = 'node';
const API = 'https://127.0.0.1:443';
const ETCD = 'http://127.0.0.1:2379';
const SERVICES = '10.96.0.0/24';
// A machine that does other things as well.
const READY_MS = 120_000;

/** Who speaks to the API server, by a token of his own: his name, and the group that gives him his rights. */
const USERS = {
  admin: ['admin', 'system:masters'],
  kubelet: [`system:node:${NODE}`, 'system:nodes'],
  controllers: ['system:kube-controller-manager', ''],
  scheduler: ['system:kube-scheduler', ''],
} as const;

/** Kubernetes on one node: etcd, API server, controllers, scheduler, containerd and kubelet. */
export class Cluster implements AsyncDisposable {
  readonly machine: Machine;
  readonly kubectl: Kubectl;
  readonly #programs: NodePrograms;
  readonly #configs: string;
  #kubelet: MachineProgram | undefined;

  private constructor(machine: Machine, programs: NodePrograms, configs: string) {
    this.machine = machine;
    this.#programs = programs;
    this.#configs = configs;
    this.kubectl = new Kubectl(machine, programs.node, join(configs, 'admin.kubeconfig'));
  }

  /** Resolves when the node is Ready. @param logs where the programs write @param images files as `docker save` writes them */
  static async start(programs: NodePrograms, logs: string, images: readonly string[]): Promise<Cluster> {
    await using stack = new AsyncDisposableStack();
    const machine = stack.use(await Machine.start(logs));
    const configs = machine.path(machine.directory);
    const cluster = new Cluster(machine, programs, machine.directory);
    await cluster.#configure(configs);
    await Promise.all([
      cluster.#controlPlane(),
      cluster.#containerd().then(() => Promise.all(images.map((image) => cluster.importImage(image)))),
    ]);
    await cluster.startKubelet();
    stack.move();
    return cluster;
  }

  /** Where the kubelet has the volumes of pods, in the machine. */
  get kubeletDirectory(): string {
    return this.#in('kubelet');
  }

  async startKubelet(): Promise<void> {
    const { machine } = this;
    this.#kubelet = machine.start('kubelet', [
      this.#programs.node,
      'kubelet',
      `--config=${this.#in('kubelet.yaml')}`,
      `--kubeconfig=${this.#in('kubelet.kubeconfig')}`,
      `--root-dir=${this.kubeletDirectory}`,
      `--hostname-override=${NODE}`,
      `--node-ip=${ADDRESS}`,
      '--v=2',
    ]);
    const ready = '{.status.conditions[?(@.type=="Ready")].status}';
    const isReady = async () => (await this.kubectl.run('get', 'node', NODE, `--output=jsonpath=${ready}`)) === 'True';
    await this.#kubelet.until('node is Ready', isReady, READY_MS);
  }

  async stopKubelet(): Promise<void> {
    await this.#kubelet?.stop();
    this.#kubelet = undefined;
  }

  /** Hands containerd an image. @param archive a file as `docker save` writes it */
  async importImage(archive: string): Promise<void> {
    await this.ctr('images', 'import', archive);
  }

  /** Runs containerd's own client. */
  ctr(...args: readonly string[]): Promise<string> {
    const ctr = join(this.#programs.debian, 'usr/bin/ctr');
    return this.machine.run([ctr, '--address', this.#in('containerd.sock'), '--namespace', 'k8s.io', ...args]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
  }

  #in(name: string): string {
    return join(this.#configs, name);
  }

  /** Writes what the programs read. @param outside the machine's directory, from here */
  async #configure(outside: string): Promise<void> {
    for (const directory of ['pki', 'cni', 'etcd', 'volume-plugins', 'static-pods'])
      mkdirSync(join(outside, directory));
    const served = ['IP:127.0.0.1', `IP:${ADDRESS}`, `IP:${SERVICE}`];
    await makePki(join(outside, 'pki'), [
      { name: 'apiserver', subject: '/CN=kube-apiserver', usage: 'serverAuth', names: served },
      { name: 'kubelet', subject: `/O=system:nodes/CN=system:node:${NODE}`, usage: 'serverAuth', names: served },
      { name: 'to-kubelet', subject: '/O=system:masters/CN=kube-apiserver', usage: 'clientAuth' },
    ]);
    const tokens = Object.entries(USERS).map(([name, [user, group]]) => `${name}-token,${user},${user},${group}\n`);
    writeFileSync(join(outside, 'tokens.csv'), tokens.join(''));
    for (const name of Object.keys(USERS)) {
      writeFileSync(join(outside, `${name}.kubeconfig`), kubeconfig(name, this.#in('pki/ca.crt')));
    }
    const { debian } = this.#programs;
    const containerd = { directory: this.#configs, debian, sandboxImage: WORKLOAD_IMAGE };
    writeFileSync(join(outside, 'containerd.toml'), containerdConfig(containerd));
    writeFileSync(join(outside, 'cni', '10-pods.conflist'), networkConfig(this.#in('addresses')));
    writeFileSync(join(outside, 'kubelet.yaml'), kubeletConfig(this.#configs));
  }

  async #controlPlane(): Promise<void> {
    const { machine } = this;
    const { node } = this.#programs;
    machine.start('etcd', [node, 'etcd', `--data-dir=${this.#in('etcd')}`, '--unsafe-no-fsync']);
    const pki = this.#in('pki');
    const apiserver = machine.start('kube-apiserver', [
      node,
      'kube-apiserver',
      `--etcd-servers=${ETCD}`,
      `--advertise-address=${ADDRESS}`,
      '--endpoint-reconciler-type=none',
      '--secure-port=443',
      `--tls-cert-file=${pki}/apiserver.crt`,
      `--tls-private-key-file=${pki}/apiserver.key`,
      `--client-ca-file=${pki}/ca.crt`,
      `--token-auth-file=${this.#in('tokens.csv')}`,
      `--kubelet-client-certificate=${pki}/to-kubelet.crt`,
      `--kubelet-client-key=${pki}/to-kubelet.key`,
      `--kubelet-certificate-authority=${pki}/ca.crt`,
      '--kubelet-preferred-address-types=InternalIP',
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
      `--service-account-signing-key-file=${pki}/sa.key`,
      `--service-account-key-file=${pki}/sa.pub`,
      `--service-cluster-ip-range=${SERVICES}`,
      '--allow-privileged=true',
    ]);
    const isReady = async () => (await this.kubectl.run('get', '--raw', '/readyz')) === 'ok';
    await apiserver.until('readiness', isReady, READY_MS);
    machine.start('kube-controller-manager', [
      node,
      'kube-controller-manager',
      `--kubeconfig=${this.#in('controllers.kubeconfig')}`,
      '--leader-elect=false',
      '--use-service-account-credentials=true',
      `--service-account-private-key-file=${pki}/sa.key`,
      `--root-ca-file=${pki}/ca.crt`,
    ]);
    machine.start('kube-scheduler', [
      node,
      'kube-scheduler',
      `--kubeconfig=${this.#in('scheduler.kubeconfig')}`,
      '--leader-elect=false',
    ]);
  }

  async #containerd(): Promise<void> {
    const { debian } = this.#programs;
    // It starts its shims by name.
    const path = `${debian}/usr/bin:${debian}/usr/sbin:${process.env['PATH']}`;
    const containerd = this.machine.start(
      'containerd',
      [join(debian, 'usr/bin/containerd'), '--config', this.#in('containerd.toml')],
      { PATH: path },
    );
    await containerd.until('an answer', async () => (await this.ctr('version')) !== '', READY_MS);
  }
}

function kubeconfig(user: string, ca: string): string {
  // JSON is YAML.
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'cluster', cluster: { server: API, 'certificate-authority': ca } }],
    users: [{ name: user, user: { token: `${user}-token` } }],
    contexts: [{ name: 'cluster', context: { cluster: 'cluster', user } }],
    'current-context': 'cluster',
  });
}

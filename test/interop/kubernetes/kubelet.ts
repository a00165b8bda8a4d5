import { join } from 'node:path';

/**
 * The configuration of a kubelet that asks the API server about each caller, as those of production do, and keeps no answer for longer
 * than a second.
 *
 * @param directory what is its own
 */
export function kubeletConfig(directory: string): string {
  return JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true, cacheTTL: '1s' },
      x509: { clientCAFile: join(directory, 'pki/ca.crt') },
    },
    authorization: { mode: 'Webhook', webhook: { cacheAuthorizedTTL: '1s', cacheUnauthorizedTTL: '1s' } },
    tlsCertFile: join(directory, 'pki/kubelet.crt'),
    tlsPrivateKeyFile: join(directory, 'pki/kubelet.key'),
    containerRuntimeEndpoint: `unix://${join(directory, 'containerd.sock')}`,
    cgroupDriver: 'cgroupfs',
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    makeIPTablesUtilChains: false,
    staticPodPath: join(directory, 'static-pods'),
    volumePluginDir: join(directory, 'volume-plugins'),
    resolvConf: '',
    // How full the disk of a machine that runs tests is says nothing about the tests.
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: Object.fromEntries(
      ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'imagefs.available'].map((of) => [of, '0%']),
    ),
    // ConfigMaps reach their volumes with it.
    syncFrequency: '2s',
    nodeStatusUpdateFrequency: '2s',
  });
}

import type { CommandRow } from './program.ts';

/** Every command but those that are the agent itself. */
export const clientCommands: readonly CommandRow[] = [
  {
    name: 'check',
    summary: 'look for mistakes in the configuration without starting',
    load: async (terminal) => (await import('./check.ts')).checkCommand(terminal),
  },
  {
    name: 'fetch',
    summary: 'ask for an X.509-SVID, a JWT-SVID or a WIT-SVID',
    load: async (terminal) => (await import('./fetch.ts')).fetchCommand(terminal),
  },
  {
    name: 'watch',
    summary: 'hold an X.509-SVID, keep its files fresh, tell a program',
    load: async (terminal) => (await import('./watch.ts')).watchCommand(terminal),
  },
  {
    name: 'bundle',
    summary: 'show the keys that others are verified with, and export those of this trust domain',
    load: async (terminal) => (await import('./bundle.ts')).bundleCommand(terminal),
  },
  {
    name: 'validate',
    summary: 'have a JWT-SVID or a WIT-SVID validated',
    load: async (terminal) => (await import('./validate.ts')).validateCommand(terminal),
  },
  {
    name: 'entries',
    summary: 'show which process gets which identity',
    load: async (terminal) => (await import('./entries.ts')).entriesCommand(terminal),
  },
  {
    name: 'attest',
    summary: 'show what a process is found to be, and what it would get',
    load: async (terminal) => (await import('./attest.ts')).attestCommand(terminal),
  },
  {
    name: 'leases',
    summary: 'show which living processes hold which identities',
    load: async (terminal) => (await import('./leases.ts')).leasesCommand(terminal),
  },
  {
    name: 'status',
    summary: 'show how the agent does',
    load: async (terminal) => (await import('./status.ts')).statusCommand(terminal),
  },
  {
    name: 'revoke',
    summary: 'end identities before they expire',
    load: async (terminal) => (await import('./revoke.ts')).revokeCommand(terminal),
  },
  {
    name: 'drill',
    summary: 'renew or revoke on purpose, and show how long it takes until all know',
    load: async (terminal) => (await import('./drill.ts')).drillCommand(terminal),
  },
  {
    name: 'events',
    summary: 'print what the agent decides, for other programs',
    load: async (terminal) => (await import('./events.ts')).eventsCommand(terminal),
  },
  {
    name: 'audit',
    summary: "verify the agent's records, and read what happened",
    load: async (terminal) => (await import('./audit.ts')).auditCommand(terminal),
  },
  {
    name: 'reload',
    summary: 'have the agent read its files again',
    load: async (terminal) => (await import('./reload.ts')).reloadCommand(terminal),
  },
  {
    name: 'healthcheck',
    summary: 'ask whether the agent serves, for probes',
    load: async (terminal) => (await import('./healthcheck.ts')).healthcheckCommand(terminal),
  },
  {
    name: 'version',
    summary: 'show the version of this program',
    load: async (terminal) => (await import('./version.ts')).versionCommand(terminal),
  },
];

/**
 * `node deploy/monitoring/dashboard.ts` writes grafana-dashboard.json, which Grafana imports. Every metric of the reference is on it.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Dashboard, FieldConfig, GridPos, Panel, RowPanel, VariableModel } from '@grafana/schema';
import { ThresholdsMode, VariableRefresh } from '@grafana/schema';

/** Where the dashboard lies as Grafana reads it. */
export const DASHBOARD_FILE = join(import.meta.dirname, 'grafana-dashboard.json');

/** A query in PromQL, in which `$S` stands for the agents that were chosen, and how its series are called. */
type Query = readonly [expr: string, legend: string];

interface Chart {
  readonly title: string;
  /** As Grafana calls it: `s`, `bytes`, `percentunit`, `ops`, `short`. */
  readonly unit: string;
  readonly queries: readonly Query[];
}

/** A number of its own, which is red from the first bound on, or below it where less is worse. */
interface Figure extends Chart {
  readonly worse?: { readonly when: 'above' | 'below'; readonly bound: number };
}

interface Section {
  readonly title: string;
  readonly charts: readonly Chart[];
}

const CHOSEN = 'job=~"$job", instance=~"$instance"';
const SOURCE = { type: 'prometheus', uid: '${datasource}' };
const COLUMNS = 24;
const FIGURE = { w: 4, h: 4 };
const CHART = { w: 8, h: 8 };

/** One in two and one in a hundred of what a histogram has. */
function spread(histogram: string, label?: string, matchers = ''): readonly Query[] {
  const by = label === undefined ? 'le' : `${label}, le`;
  const suffix = label === undefined ? '' : ` {{${label}}}`;
  const buckets = `sum by (${by}) (rate(${histogram}_bucket{$S${matchers}}[$__rate_interval]))`;
  return [
    [`histogram_quantile(0.5, ${buckets})`, `half${suffix}`],
    [`histogram_quantile(0.99, ${buckets})`, `99 %${suffix}`],
  ];
}

/** How often a second a counter is counted up, by its labels. */
function perSecond(counter: string, ...labels: readonly [string, ...string[]]): Query {
  return [
    `sum by (${labels.join(', ')}) (rate(${counter}{$S}[$__rate_interval]))`,
    labels.map((label) => `{{${label}}}`).join(' '),
  ];
}

const FIGURES: readonly Figure[] = [
  {
    title: 'Agents that serve, of all',
    unit: 'percentunit',
    queries: [['avg(mayfly_ready{$S})', '']],
    worse: { when: 'below', bound: 1 },
  },
  { title: 'Leases', unit: 'short', queries: [['sum(mayfly_leases{$S})', '']] },
  {
    title: 'Least lifetime left',
    unit: 'percentunit',
    queries: [['min(mayfly_svid_lifetime_left_ratio{$S})', '']],
    worse: { when: 'below', bound: 0.25 },
  },
  {
    title: 'Longest wait of a revocation',
    unit: 's',
    queries: [['max(mayfly_revocation_waiting_seconds{$S})', '']],
    worse: { when: 'above', bound: 10 },
  },
  {
    title: 'Ledgers that cannot be written',
    unit: 'short',
    queries: [['count(mayfly_ledger_writable{$S} == 0) or vector(0)', '']],
    worse: { when: 'above', bound: 1 },
  },
  {
    title: 'Files that could not be loaded',
    unit: 'short',
    queries: [['sum(mayfly_reload_failing{$S})', '']],
    worse: { when: 'above', bound: 1 },
  },
];

const SECTIONS: readonly Section[] = [
  {
    title: 'Identities',
    charts: [
      {
        title: 'Leases by entry',
        unit: 'short',
        queries: [['topk(20, sum by (entry) (mayfly_leases{$S}))', '{{entry}}']],
      },
      { title: 'Issued', unit: 'ops', queries: [perSecond('mayfly_svids_issued_total', 'kind', 'occasion')] },
      {
        title: 'Issued by entry',
        unit: 'ops',
        queries: [['topk(20, sum by (entry) (rate(mayfly_svids_issued_total{$S}[$__rate_interval])))', '{{entry}}']],
      },
      { title: 'Refused', unit: 'ops', queries: [perSecond('mayfly_svids_refused_total', 'entry', 'reason')] },
      { title: 'Failed', unit: 'ops', queries: [perSecond('mayfly_svids_failed_total', 'code')] },
      { title: 'Time to issue', unit: 's', queries: spread('mayfly_svid_issue_duration_seconds', 'kind') },
      {
        title: 'Least lifetime left',
        unit: 'percentunit',
        queries: [['min by (kind) (mayfly_svid_lifetime_left_ratio{$S})', '{{kind}}']],
      },
      {
        title: 'Time to the next expiry',
        unit: 's',
        queries: [['min by (kind) (mayfly_svid_next_expiry_timestamp_seconds{$S} - time())', '{{kind}}']],
      },
      {
        title: 'How late renewals are',
        unit: 's',
        queries: [
          ...spread('mayfly_svid_renewal_lateness_seconds', 'kind'),
          ['max by (kind) (mayfly_svid_renewal_overdue_seconds{$S})', 'overdue {{kind}}'],
        ],
      },
      {
        title: 'Renewed, and failing',
        unit: 'short',
        queries: [
          ['sum by (kind) (mayfly_svids_followed{$S})', 'followed {{kind}}'],
          ['sum by (kind) (mayfly_svid_renewals_failing{$S})', 'failing {{kind}}'],
        ],
      },
      { title: 'Ends of leases', unit: 'ops', queries: [perSecond('mayfly_leases_ended_total', 'reason')] },
      {
        title: 'Processes, and what they are in',
        unit: 'short',
        queries: [
          ['sum(mayfly_workloads{$S})', 'with an identity'],
          ['sum(mayfly_processes{$S})', 'held'],
          ['sum by (context) (mayfly_contexts{$S})', '{{context}}s'],
          ['sum(mayfly_tokens_outstanding{$S})', 'tokens'],
        ],
      },
    ],
  },
  {
    title: 'Callers',
    charts: [
      {
        title: 'Connections',
        unit: 'short',
        queries: [
          ['max(mayfly_connections{$S})', 'most of one agent'],
          ['min(mayfly_connections_limit{$S})', 'limit'],
        ],
      },
      {
        title: 'Calls under way',
        unit: 'short',
        queries: [
          ['sum(mayfly_calls{$S})', 'all'],
          ['sum by (method) (mayfly_streams{$S})', '{{method}}'],
        ],
      },
      { title: 'Calls', unit: 'ops', queries: [perSecond('mayfly_calls_total', 'method', 'code')] },
      { title: 'Messages on streams', unit: 'ops', queries: [perSecond('mayfly_stream_messages_total', 'method')] },
      { title: 'Refused at once', unit: 'ops', queries: [perSecond('mayfly_peer_refusals_total', 'reason')] },
      { title: 'Responses to proxies', unit: 'ops', queries: [perSecond('mayfly_sds_responses_total', 'outcome')] },
      { title: 'Time to attest', unit: 's', queries: spread('mayfly_attestation_duration_seconds', 'attestor') },
      {
        title: 'Attestations under way',
        unit: 'short',
        queries: [
          ['max(mayfly_attestations{$S})', 'most of one agent'],
          ['min(mayfly_attestations_limit{$S})', 'limit'],
        ],
      },
      {
        title: 'Attestors that fail or are hindered',
        unit: 'short',
        queries: [
          perSecond('mayfly_attestation_failures_total', 'attestor'),
          ['sum by (attestor) (mayfly_attestor_shortcomings{$S})', 'hindered {{attestor}}'],
        ],
      },
      {
        title: 'Agents that learn late of a change of process',
        unit: 'short',
        queries: [
          ['sum(mayfly_weaker_mode{$S})', 'without SO_PEERPIDFD'],
          ['count(mayfly_process_connector{$S} == 0) or vector(0)', 'without the process connector'],
          ['sum(increase(mayfly_process_events_lost_total{$S}[$__rate_interval]))', 'events were lost'],
        ],
      },
      {
        title: 'Looks at processes',
        unit: 'percentunit',
        queries: [['max by (instance) (mayfly_process_look_ratio{$S})', '{{instance}}']],
      },
    ],
  },
  {
    title: 'Revocation',
    charts: [
      { title: 'Revoked', unit: 'ops', queries: [perSecond('mayfly_revocations_total', 'kind', 'reason')] },
      {
        title: 'From revocation to lists',
        unit: 's',
        queries: [
          ...spread('mayfly_revocation_delay_seconds'),
          ['max(mayfly_revocation_waiting_seconds{$S})', 'waiting'],
        ],
      },
      {
        title: 'Size of the lists',
        unit: 'bytes',
        queries: [
          ['max(mayfly_crl_size_bytes{$S})', 'largest'],
          ['min(mayfly_crl_size_limit_bytes{$S})', 'budget'],
        ],
      },
      {
        title: 'On the lists',
        unit: 'short',
        queries: [
          ['sum(mayfly_crl_certificates{$S})', 'certificates'],
          ['sum(mayfly_denylist_tokens{$S})', 'tokens'],
          ['sum(mayfly_reissue_barred{$S})', 'barred'],
          ['sum(mayfly_lifetimes_shortened{$S})', 'shortened lifetimes'],
        ],
      },
      { title: 'Pushes', unit: 'ops', queries: [perSecond('mayfly_crl_publications_total', 'instance')] },
      {
        title: 'Lists',
        unit: 's',
        queries: [
          ['min(mayfly_crl_next_update_timestamp_seconds{$S} - time())', 'good for'],
          ['count(mayfly_crl_given_out{$S} == 0) or vector(0)', 'agents without'],
        ],
      },
    ],
  },
  {
    title: 'Ledger',
    charts: [
      { title: 'Records', unit: 'ops', queries: [perSecond('mayfly_ledger_records_total', 'stream')] },
      { title: 'Time of a write', unit: 's', queries: spread('mayfly_ledger_flush_duration_seconds', 'stream') },
      {
        title: 'Behind',
        unit: 's',
        queries: [
          ['max by (instance) (mayfly_ledger_lag_seconds{$S})', '{{instance}}'],
          [
            'max by (instance) (time() - mayfly_ledger_outage_start_timestamp_seconds{$S})',
            'not writable {{instance}}',
          ],
        ],
      },
      {
        title: 'Waiting, and lost',
        unit: 'short',
        queries: [
          ['sum(mayfly_ledger_pending_records{$S})', 'waiting'],
          ['sum by (what) (increase(mayfly_ledger_lost_total{$S}[$__rate_interval]))', 'lost {{what}}'],
        ],
      },
      {
        title: 'Size',
        unit: 'bytes',
        queries: [
          ['max(mayfly_ledger_size_bytes{$S})', 'largest'],
          ['min(mayfly_ledger_size_limit_bytes{$S})', 'limit'],
        ],
      },
      {
        title: 'Room on the file system of data_dir',
        unit: 'percentunit',
        queries: [
          ['min by (instance) (mayfly_data_dir_available_bytes{$S} / mayfly_data_dir_size_bytes{$S})', '{{instance}}'],
        ],
      },
      {
        title: 'Files, and the age of the checkpoint',
        unit: 'short',
        queries: [
          ['max(mayfly_ledger_segments{$S})', 'files'],
          ['max(time() - mayfly_ledger_checkpoint_timestamp_seconds{$S}) / 3600', 'hours since'],
        ],
      },
    ],
  },
  {
    title: 'Agents',
    charts: [
      {
        title: 'Versions',
        unit: 'short',
        queries: [
          [
            'count by (version, revision, node_version) (mayfly_build_info{$S})',
            '{{version}} {{revision}} {{node_version}}',
          ],
        ],
      },
      {
        title: 'Parts that are not well',
        unit: 'short',
        queries: [
          ['count by (part) (mayfly_healthy{$S} == 0)', '{{part}}'],
          ['sum by (trust_domain) (mayfly_federated_bundle_failing{$S})', 'bundle of {{trust_domain}}'],
          ['sum(mayfly_template_shortcomings{$S})', 'templates'],
        ],
      },
      {
        title: 'Loads that failed',
        unit: 'short',
        queries: [['sum by (source) (increase(mayfly_reload_failures_total{$S}[$__rate_interval]))', '{{source}}']],
      },
      {
        title: 'Entries',
        unit: 'short',
        queries: [
          ['max(mayfly_entries{$S})', 'most'],
          ['min(mayfly_entries{$S})', 'least'],
          ['max(mayfly_entry_warnings{$S})', 'warnings'],
        ],
      },
      {
        title: 'Age of what is loaded',
        unit: 's',
        queries: [['max by (source) (time() - mayfly_loaded_timestamp_seconds{$S})', '{{source}}']],
      },
      {
        title: 'Time to the end of the newest keys',
        unit: 's',
        queries: [['min by (use) (mayfly_authority_key_expiry_timestamp_seconds{$S} - time())', '{{use}}']],
      },
      {
        title: 'Processor',
        unit: 'percentunit',
        queries: [
          ['rate(process_cpu_seconds_total{$S}[$__rate_interval])', '{{instance}}'],
          ['rate(mayfly_event_loop_seconds_total{$S, state="active"}[$__rate_interval])', 'main thread {{instance}}'],
        ],
      },
      {
        title: 'Memory',
        unit: 'bytes',
        queries: [
          ['process_resident_memory_bytes{$S}', '{{instance}}'],
          ['mayfly_heap_used_bytes{$S}', 'heap {{instance}}'],
        ],
      },
      {
        title: 'Descriptors',
        unit: 'percentunit',
        queries: [['process_open_fds{$S} / process_max_fds{$S}', '{{instance}}']],
      },
      {
        title: 'Since the start',
        unit: 's',
        queries: [['time() - process_start_time_seconds{$S}', '{{instance}}']],
      },
      { title: 'Scrapes and probes', unit: 'ops', queries: [perSecond('mayfly_http_requests_total', 'path', 'code')] },
    ],
  },
];

/** The dashboard as Grafana has it. */
export function dashboard(): Dashboard {
  const panels: (Panel | RowPanel)[] = [];
  let top = 0;
  const place = ({ w, h }: { w: number; h: number }, index: number): GridPos => {
    const inRow = COLUMNS / w;
    return { x: (index % inRow) * w, y: top + Math.floor(index / inRow) * h, w, h };
  };
  for (const [index, figure] of FIGURES.entries()) {
    panels.push(figurePanel(figure, panels.length + 1, place(FIGURE, index)));
  }
  top += FIGURE.h * Math.ceil((FIGURES.length * FIGURE.w) / COLUMNS);
  for (const { charts, title } of SECTIONS) {
    panels.push({
      type: 'row',
      id: panels.length + 1,
      title,
      collapsed: false,
      gridPos: { x: 0, y: top, w: COLUMNS, h: 1 },
      panels: [],
    });
    top += 1;
    for (const [index, chart] of charts.entries())
      panels.push(chartPanel(chart, panels.length + 1, place(CHART, index)));
    top += CHART.h * Math.ceil((charts.length * CHART.w) / COLUMNS);
  }
  return {
    uid: 'mayfly',
    title: 'Mayfly',
    description:
      'Agents of Mayfly: identities, callers, revocation, and the ledger. docs/metrics.md says what each metric means.',
    tags: ['mayfly', 'spiffe'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    timezone: 'browser',
    templating: { list: VARIABLES },
    panels,
  };
}

const VARIABLES: VariableModel[] = [
  { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus' },
  chooser('job', 'label_values(mayfly_build_info, job)'),
  chooser('instance', 'label_values(mayfly_build_info{job=~"$job"}, instance)'),
];

function chooser(name: string, query: string): VariableModel {
  const all = { selected: true, text: ['All'], value: ['$__all'] };
  // Instances come and go.
  const refresh = VariableRefresh.onTimeRangeChanged;
  return { name, type: 'query', datasource: SOURCE, query, refresh, multi: true, includeAll: true, current: all };
}

function figurePanel({ worse, ...chart }: Figure, id: number, gridPos: GridPos): Panel {
  const { bound, when } = worse ?? { bound: 0, when: 'none' };
  const steps = {
    above: [
      { color: 'green', value: null },
      { color: 'red', value: bound },
    ],
    below: [
      { color: 'red', value: null },
      { color: 'green', value: bound },
    ],
    none: [{ color: 'blue', value: null }],
  };
  return {
    ...panel('stat', chart, id, gridPos, { thresholds: { mode: ThresholdsMode.Absolute, steps: steps[when] } }),
    options: {
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      colorMode: 'value',
      graphMode: 'none',
    },
  };
}

function chartPanel(chart: Chart, id: number, gridPos: GridPos): Panel {
  return {
    ...panel('timeseries', chart, id, gridPos, { min: 0, custom: { fillOpacity: 10, showPoints: 'never' } }),
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
  };
}

function panel(type: string, { queries, title, unit }: Chart, id: number, gridPos: GridPos, field: FieldConfig): Panel {
  return {
    type,
    id,
    title,
    gridPos,
    datasource: SOURCE,
    fieldConfig: { defaults: { unit, ...field }, overrides: [] },
    targets: queries.map(([expr, legend], index) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + index),
      datasource: SOURCE,
      expr: expr.replaceAll('$S', CHOSEN),
      legendFormat: legend,
      // A number of its own has no past; a curve has.
      ...(type === 'stat' ? { instant: true } : { range: true }),
    })),
  };
}

/** The file's text. */
export function dashboardText(): string {
  return `${JSON.stringify(dashboard(), undefined, 2)}\n`;
}

if (import.meta.main) writeFileSync(DASHBOARD_FILE, dashboardText());

/** What a query asks for: a metric, and what its labels have to be. */
export interface Selector {
  readonly metric: string;
  readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[];
  /** As it stands in the query. */
  readonly text: string;
}

const SELECTOR = /\b((?:mayfly|process)_[a-z0-9_]+|up)\b(?:\{([^}]*)\})?/g;
const MATCHER = /([a-z_]+)(=~|!~|!=|=)"([^"]*)"/g;
const GROUPING = /\b(?:by|on|without|ignoring) \(([^)]*)\)/g;

/** Every selector in a query. */
export function selectorsIn(query: string): readonly Selector[] {
  return Array.from(query.matchAll(SELECTOR), ([text, metric = '', matchers = '']) => ({
    metric,
    matchers: Array.from(matchers.matchAll(MATCHER), ([, label = '', operator = '', value = '']) => ({
      label,
      operator,
      value,
    })),
    text,
  }));
}

/** The labels that a query groups or joins by. */
export function groupingsIn(query: string): readonly string[] {
  return Array.from(query.matchAll(GROUPING), ([, labels = '']) => labels.split(', ')).flat();
}

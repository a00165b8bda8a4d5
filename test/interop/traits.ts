/** How a client library differs from the others; what a user of it has to know stands in docs/compatibility.md, once a test has passed. */
export interface Traits {
  /** Whether it tells the hint of an X.509-SVID. */
  readonly hints: boolean;
  /** What it says of `PERMISSION_DENIED`. */
  readonly denied: RegExp;
  /** What it says when it finds that a token is for somebody else, or changed. */
  readonly wrongAudience: RegExp;
  readonly wrongSignature: RegExp;
  /** What it says when it asks an agent that does not run. */
  readonly unreachable: RegExp;
  /** What its source does with an identity whose entry is withdrawn. What it says then, where it drops it. */
  readonly withdrawn: 'keeps' | RegExp;
  /** Whether it waits for an agent that does not run yet. What it says, where it does not. */
  readonly early: 'waits' | RegExp;
}

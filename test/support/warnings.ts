/** What `status` tells, but for what is so only because the machine that runs the tests is slow. */
export function besidesSlowness(told: readonly string[]): readonly string[] {
  return told.filter((one) => !/no answer within|there is so much to look at/.test(one));
}

/**
 * What `status` warns of, but for what the machine that runs the tests is to blame for: that it is slow, and capabilities that whoever
 * runs them does not have. `scenario/privileges.test.ts` sees what is told of those.
 */
export function besidesMachine(warnings: readonly string[]): readonly string[] {
  return besidesSlowness(warnings).filter((warning) => !/^CAP_[A-Z_]+ is missing: /.test(warning));
}

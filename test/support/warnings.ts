/**
 * What `status` warns of, but for capabilities that whoever runs the tests does not have. `scenario/privileges.test.ts` sees what is told of
 * those.
 */
export function besidesPrivileges(warnings: readonly string[]): readonly string[] {
  return warnings.filter((warning) => !/^CAP_[A-Z_]+ is missing: /.test(warning));
}

/**
 * `node:http` without what comes along when it is imported: an import evaluates all that the module exports, `WebSocket` too, for which
 * Node loads a whole client. Each start would take 15 ms longer, and the agent 3 MB.
 */
export const http = process.getBuiltinModule('node:http');

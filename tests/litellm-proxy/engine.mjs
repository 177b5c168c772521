// Serves Prisma's WebAssembly query engine over the HTTP interface of its native one.
//
// LiteLLM's database client, prisma-client-py, starts the native engine and sends it GraphQL. That engine comes from a
// host that is no package registry. npm's @prisma/client has the same engine of the same version (5.17.0) as
// WebAssembly, which takes Prisma's JSON protocol and leaves the connections to @prisma/adapter-pg. So this program
// translates GraphQL requests to that protocol, and the answers back.
//
// Environment: PRISMA_DML_PATH names the schema; DATABASE_URL or OVERWRITE_DATASOURCES the database.

import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { bindAdapter } from '@prisma/driver-adapter-utils';
import { PrismaPg } from '@prisma/adapter-pg';
import { parse } from 'graphql';
import pg from 'pg';

const require = createRequire(import.meta.url);
const schema = fs.readFileSync(process.env.PRISMA_DML_PATH, 'utf8');
const engine = await startEngine();

// The connection string for node-postgres, which knows `host` (a socket's folder) but none of Prisma's own parameters.
function connectionPool() {
  const overridden = JSON.parse(process.env.OVERWRITE_DATASOURCES ?? '[]')[0]?.url;
  const url = new URL(overridden ?? process.env.DATABASE_URL);
  const max = Number(url.searchParams.get('connection_limit') ?? 5);
  for (const name of [...url.searchParams.keys()]) if (name !== 'host') url.searchParams.delete(name);
  const pool = new pg.Pool({ connectionString: url.toString(), max });
  pool.on('error', (error) => console.error('query-engine: lost a connection:', error.message));
  return pool;
}

async function startEngine() {
  const runtime = '@prisma/client/runtime/query_engine_bg.postgresql';
  const bindings = require(`${runtime}.js`);
  const module = new WebAssembly.Module(fs.readFileSync(require.resolve(`${runtime}.wasm`)));
  const instance = new WebAssembly.Instance(module, { './query_engine_bg.js': bindings });
  bindings.__wbg_set_wasm(instance.exports);
  const options = {
    datamodel: schema,
    env: process.env,
    ignoreEnvVarErrors: true,
    datasourceOverrides: {},
    configDir: '.',
    engineProtocol: 'json',
    enableTracing: false,
    logQueries: false,
    logLevel: 'error',
  };
  const engine = new bindings.QueryEngine(options, () => {}, bindAdapter(new PrismaPg(connectionPool())));
  await engine.connect('{}');
  return engine;
}

// The type of each field of each model, as the schema says.
const models = new Map();
for (const [, name, body] of schema.matchAll(/^model (\w+) \{([\s\S]*?)^\}/gm)) {
  const fields = new Map();
  for (const [, field, type] of body.matchAll(/^\s+(\w+)\s+(\w+)/gm)) fields.set(field, type);
  models.set(name, fields);
}

function value(node) {
  switch (node.kind) {
    case 'IntValue': {
      const number = Number(node.value);
      return Number.isSafeInteger(number) ? number : { $type: 'BigInt', value: node.value };
    }
    case 'FloatValue':
      return Number(node.value);
    case 'StringValue':
    case 'EnumValue':
    case 'BooleanValue':
      return node.value;
    case 'NullValue':
      return null;
    case 'ListValue':
      return node.values.map(value);
    case 'ObjectValue':
      return Object.fromEntries(node.fields.map((field) => [field.name.value, value(field.value)]));
    default:
      throw new Error(`unknown GraphQL value: ${node.kind}`);
  }
}

const isPlain = (of) => of !== null && typeof of === 'object' && !Array.isArray(of) && !of.$type;
const mapValues = (object, change) => Object.fromEntries(Object.entries(object).map(([k, v]) => [k, change(k, v)]));

// GraphQL carries a Json column as text; the JSON protocol wants such text marked. `path` is part of a filter.
function markJson(of) {
  if (typeof of === 'string') return { $type: 'Json', value: of };
  if (Array.isArray(of)) return of.map(markJson);
  return isPlain(of) ? mapValues(of, (key, inner) => (key === 'path' ? inner : markJson(inner))) : of;
}

function withTypes(of, model) {
  if (Array.isArray(of)) return of.map((inner) => withTypes(inner, model));
  if (!isPlain(of)) return of;
  return mapValues(of, (key, inner) => {
    const type = models.get(model)?.get(key);
    if (type === 'Json') return markJson(inner);
    if (type && !models.has(type)) return inner;
    return withTypes(inner, type ?? model);
  });
}

const args = (field) => Object.fromEntries((field.arguments ?? []).map((arg) => [arg.name.value, value(arg.value)]));

function selection(set) {
  const one = (field) =>
    field.selectionSet || field.arguments?.length
      ? { arguments: args(field), selection: selection(field.selectionSet) }
      : true;
  return Object.fromEntries((set?.selections ?? []).map((field) => [field.name.value, one(field)]));
}

const ACTIONS = [
  'createOne', 'createMany', 'deleteOne', 'deleteMany', 'updateOne', 'updateMany', 'upsertOne', 'findMany', 'aggregate',
  'groupBy',
];

// `findUniqueLiteLLM_TeamTable` and the like: an action and a model in one word.
function operation(name) {
  if (name === 'queryRaw' || name === 'executeRaw') return { action: name };
  const find = /^(findUnique|findFirst)(.*?)(OrThrow)?$/.exec(name);
  if (find) return { action: find[1] + (find[3] ?? ''), modelName: find[2] };
  const action = ACTIONS.find((action) => name.startsWith(action));
  if (!action) throw new Error(`unknown operation: ${name}`);
  return { action, modelName: name.slice(action.length) };
}

function toProtocol(text) {
  const field = parse(text, { noLocation: true }).definitions[0].selectionSet.selections[0];
  const called = operation(field.name.value);
  const given = args(field);
  return {
    ...called,
    query: {
      arguments: called.modelName ? withTypes(given, called.modelName) : given,
      selection: selection(field.selectionSet),
    },
  };
}

// The JSON protocol marks dates, large numbers and the like; GraphQL answers have the bare value.
function unmark(of) {
  if (Array.isArray(of)) return of.map(unmark);
  if (of === null || typeof of !== 'object') return of;
  return typeof of.$type === 'string' && 'value' in of ? of.value : mapValues(of, (_, inner) => unmark(inner));
}

const toAnswer = (one) => (one.data ? { ...one, data: { result: unmark(Object.values(one.data)[0]) } } : one);

async function query(body, transaction) {
  const request = JSON.parse(body);
  const run = async (request) => JSON.parse(await engine.query(JSON.stringify(request), '{}', transaction));
  if (!request.batch) return toAnswer(await run(toProtocol(request.query)));
  const batch = request.batch.map((one) => toProtocol(one.query));
  const answer = await run({ batch, transaction: request.transaction ? {} : undefined });
  return answer.batchResult ? { batchResult: answer.batchResult.map(toAnswer) } : answer;
}

async function answer(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  if (request.url === '/status') return { status: 'ok' };
  if (request.url.startsWith('/metrics')) return { counters: [], gauges: [], histograms: [] };
  const transaction = /^\/transaction\/([^/]+)(?:\/(commit|rollback))?$/.exec(request.url);
  if (transaction?.[1] === 'start') return engine.startTransaction(body, '{}');
  if (transaction?.[2] === 'commit') return (await engine.commitTransaction(transaction[1], '{}')) || {};
  if (transaction?.[2] === 'rollback') return (await engine.rollbackTransaction(transaction[1], '{}')) || {};
  return query(body, request.headers['x-transaction-id']);
}

const server = http.createServer(async (request, response) => {
  let status = 200;
  let body;
  try {
    body = await answer(request);
  } catch (error) {
    console.error('query-engine:', error);
    status = 500;
    const message = String(error?.message ?? error);
    body = { errors: [{ error: message, user_facing_error: { is_panic: false, message } }] };
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
});
// prisma-client-py keeps connections for longer than Node's default of five seconds.
server.keepAliveTimeout = 0;
server.listen(Number(process.argv[process.argv.indexOf('-p') + 1]), 'localhost');
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));

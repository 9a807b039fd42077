// Node's document client with 32 requests in flight; rows come through pg's server-side cursor.
// The client's own agent keeps connections alive, up to 50. Packages live in a cache, PEER_MODULES says where.
import { createRequire } from "node:module";

const require = createRequire(`${process.env.PEER_MODULES}/`);
const { DynamoDBClient } = require("@aws-sdk/client-dynamodb");
const { BatchWriteCommand, DynamoDBDocumentClient } = require("@aws-sdk/lib-dynamodb");
const pg = require("pg");
const Cursor = require("pg-cursor");

const FETCH_ROWS = 2000;
const BATCH = 25;
const IN_FLIGHT = 32;
const DATE_TYPES = [1184]; // timestamptz as text: a JavaScript date has no microseconds
for (const type of DATE_TYPES) pg.types.setTypeParser(type, (text) => text);

const iso = (text) => text.replace(" ", "T").replace("+00", "Z");

function item(row) {
  const ordered = iso(row.order_date);
  const values = {
    PK: `USER#${row.user_id}`,
    SK: `ORDER#${ordered.slice(0, 10)}#${row.id}`,
    EntityType: "Order",
    OrderID: Number(row.id),
    UserID: Number(row.user_id),
    OrderDate: ordered,
    Status: row.status,
    TotalAmount: Number(row.total_amount),
    Currency: row.currency,
    ItemsCount: row.items_count,
    Paid: row.paid,
    Email: row.email,
    UpdatedAt: iso(row.updated_at),
  };
  if (row.shipping_address !== null) values.ShippingAddress = row.shipping_address;
  if (row.notes !== null) values.Notes = row.notes;
  return values;
}

const client = DynamoDBDocumentClient.from(
  new DynamoDBClient({ endpoint: process.env.DYNAMODB_ENDPOINT, region: "us-east-1" }),
);
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ startup_cpu_s: (user + system) / 1e6 }));

async function write(batch) {
  let pending = { orders: batch.map((row) => ({ PutRequest: { Item: item(row) } })) };
  while (pending && Object.keys(pending).length > 0) {
    pending = (await client.send(new BatchWriteCommand({ RequestItems: pending }))).UnprocessedItems;
  }
}

const database = new pg.Client({ options: "-c timezone=UTC" });
await database.connect();
const cursor = database.query(new Cursor(`SELECT * FROM orders ORDER BY id LIMIT ${Number(process.argv[2])}`));
const inFlight = new Set();
for (let rows = await cursor.read(FETCH_ROWS); rows.length > 0; rows = await cursor.read(FETCH_ROWS)) {
  for (let from = 0; from < rows.length; from += BATCH) {
    while (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
    const request = write(rows.slice(from, from + BATCH)).finally(() => inFlight.delete(request));
    inFlight.add(request);
  }
}
await Promise.all(inFlight);
await database.end();

"""A manifest with thirteen statements of every kind that startup SQL has, for tests.

In: nothing. Out: the text of the manifest; its engine is made by `tests.assembler.runtime.sql.engines`.
"""

import json

THIRTEEN = {
    "extension": "CREATE EXTENSION IF NOT EXISTS hstore",
    "type": "DO $$ BEGIN CREATE TYPE kind AS ENUM ('flat'); "
    "EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    "house": "ALTER TYPE kind ADD VALUE IF NOT EXISTS 'house'",
    "plan": "ALTER TYPE kind ADD VALUE IF NOT EXISTS 'floor_plan'",
    "table": "CREATE TABLE IF NOT EXISTS listing (id bigint PRIMARY KEY, kind kind)",
    "price": "ALTER TABLE listing ADD COLUMN IF NOT EXISTS price numeric",
    "town": "ALTER TABLE listing ADD COLUMN IF NOT EXISTS town text DEFAULT '100%'",
    "function": "CREATE OR REPLACE FUNCTION cheap(listing) RETURNS boolean "
    "LANGUAGE sql AS $f$ SELECT $1.price < 10 $f$",
    "index": "CREATE INDEX CONCURRENTLY IF NOT EXISTS listing_price ON listing (price)",
    "unique": "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS listing_town ON listing (town, id)",
    "view": "CREATE OR REPLACE VIEW flats AS SELECT * FROM listing WHERE kind = 'flat'",
    "row": "INSERT INTO listing VALUES (1, 'floor_plan', 5) ON CONFLICT DO NOTHING",
    "check": "ALTER TABLE listing ADD CONSTRAINT positive CHECK (price > 0) NOT VALID",
}
MANIFEST = f"""\
manifest: 1
resources:
  db: {{use: tests.assembler.runtime.sql.engines.engine, with: {{url: "${{SQL_URL}}", pooled: "${{SQL_POOLED:-false}}"}}}}
startup:
  - id: schema
    database: ${{resources.db}}
    sql: {json.dumps([{"label": label, "run": run} for label, run in THIRTEEN.items()])}
"""

-- CALL deephash_encode_table: codes for the rows that have none.
SET client_min_messages = warning; -- its notices tell times
\set tiny16 `base64 -w0 build/fixtures/tiny16.safetensors`
\set tiny64 `base64 -w0 build/fixtures/tiny64.safetensors`
\set red `base64 -w0 build/fixtures/red.jpg`
\set green `base64 -w0 build/fixtures/green.jpg`
SELECT deephash_load_model('m16', decode(:'tiny16', 'base64'));
SELECT deephash_load_model('m64', decode(:'tiny64', 'base64'));
CREATE TABLE picture (id int, data bytea);
INSERT INTO picture VALUES (1, decode(:'red', 'base64')), (2, decode(:'green', 'base64')), (3, NULL);
CREATE SCHEMA "Odd Place";
CREATE TABLE "Odd Place"."Photo" (id int, "The Jpeg" bytea, "Code" hashcode(64));
INSERT INTO "Odd Place"."Photo" SELECT i, data FROM generate_series(1, 900) i JOIN picture ON id = i % 3 + 1;
CREATE VIEW state AS SELECT count(*) AS rows, count("Code") AS codes,
  count(*) FILTER (WHERE "Code" <> deephash_encode("The Jpeg", 'm64')) AS wrong FROM "Odd Place"."Photo";

CALL deephash_encode_table('"Odd Place"."Photo"', 'The Jpeg', 'Code', 'm64');
SELECT * FROM state;
-- nothing is left to do; rows without a code are done, others left alone
SELECT images AS before FROM deephash_service \gset
CALL deephash_encode_table('"Odd Place"."Photo"', 'The Jpeg', 'Code', 'm64');
SELECT images - :before AS encoded FROM deephash_service;
UPDATE "Odd Place"."Photo" SET "Code" = NULL WHERE id <= 100;
SELECT images AS before FROM deephash_service \gset
CALL deephash_encode_table('"Odd Place"."Photo"', 'The Jpeg', 'Code', 'm64', batch => 7);
SELECT images - :before AS encoded FROM deephash_service;
SELECT * FROM state;

-- images that are none: batches before them stay (messages tell the row's place: not here)
\set VERBOSITY sqlstate
INSERT INTO "Odd Place"."Photo" SELECT i, CASE WHEN i = 950 THEN 'hello' ELSE data END FROM generate_series(901, 1000) i JOIN picture ON id = i % 2 + 1;
CALL deephash_encode_table('"Odd Place"."Photo"', 'The Jpeg', 'Code', 'm64', batch => 10, bad_images => 'stop');
SELECT count("Code") FROM "Odd Place"."Photo" WHERE id > 900;
CALL deephash_encode_table('"Odd Place"."Photo"', 'The Jpeg', 'Code', 'm64');
SELECT count("Code") FROM "Odd Place"."Photo" WHERE id > 900;
CALL deephash_encode_table('"Odd Place"."Photo"', 'The Jpeg', 'Code', 'm64', bad_images => 'skip');
\set VERBOSITY default
-- with the trigger there, and on partitions
CREATE TABLE part (id int, jpeg bytea, code hashcode) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (50);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (50) TO (100);
INSERT INTO part SELECT i, data FROM generate_series(0, 99) i, picture WHERE picture.id = 1;
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON part FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code');
SELECT images AS before FROM deephash_service \gset
CALL deephash_encode_table('part', 'jpeg', 'code', batch => 30);
SELECT images - :before AS encoded FROM deephash_service;
SELECT tableoid::regclass, count(*), count(code), min(length(code)) FROM part GROUP BY 1 ORDER BY 1;

-- memory for a batch, not for the table: 400 images of 200 kB take 80 MB
CREATE TABLE thick (id int PRIMARY KEY, jpeg bytea, code hashcode(64));
CREATE TABLE thick_memory (kb int);
CREATE FUNCTION note_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO thick_memory SELECT (regexp_match(pg_read_file('/proc/self/status'), 'RssAnon:\s+(\d+) kB'))[1]::int;
  RETURN NEW;
END $$;
CREATE TRIGGER note BEFORE UPDATE ON thick FOR EACH ROW EXECUTE FUNCTION note_memory();
INSERT INTO thick SELECT i, data || decode(repeat('00', 200000), 'hex') FROM generate_series(1, 400) i, picture WHERE picture.id = 1;
CALL deephash_encode_table('thick', 'jpeg', 'code', 'm64', batch => 10);
SELECT count(*) AS rows, max(kb) - min(kb) < 40000 AS little FROM thick_memory;
UPDATE thick SET code = NULL;
TRUNCATE thick_memory;
CALL deephash_encode_table('thick', 'jpeg', 'code', 'm64', batch => 100000);
SELECT count(*) AS rows, max(kb) < 70000 AS little FROM thick_memory;
-- nor for the statement
TRUNCATE thick_memory;
CREATE TRIGGER made AFTER INSERT ON thick REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION deephash_encode_statement_trigger('jpeg', 'code', 'm64');
INSERT INTO thick SELECT id + 400, jpeg FROM thick;
SELECT count(*) AS rows, max(kb) < 70000 AS little FROM thick_memory;
SELECT count(*) AS rows, count(DISTINCT code) AS codes FROM thick;

-- what it refuses
BEGIN;
CALL deephash_encode_table('part', 'jpeg', 'code');
ROLLBACK;
CALL deephash_encode_table(NULL, 'jpeg', 'code');
CALL deephash_encode_table('part', NULL, 'code');
CALL deephash_encode_table('part', 'jpeg', NULL);
CALL deephash_encode_table('part', 'jpeg', 'code', batch => 0);
CALL deephash_encode_table('part', 'jpeg', 'code', batch => NULL);
CALL deephash_encode_table('part', 'jpeg', 'code', bad_images => 'maybe');
CALL deephash_encode_table('part', 'jpeg', 'code', bad_images => NULL);
CALL deephash_encode_table('part', 'jpeg', 'code', 'none');
CALL deephash_encode_table('part', 'none', 'code');
CALL deephash_encode_table('part', 'jpeg', 'id');
CALL deephash_encode_table('state', 'rows', 'codes');
CALL deephash_encode_table('"Odd Place"."Photo"', 'The Jpeg', 'Code', 'm16');
-- a rule that replaces UPDATE, of some rows or of all
CREATE TABLE ruled AS SELECT i, i = 2 AS locked, data AS jpeg, NULL::hashcode AS code FROM generate_series(1, 3) i, picture WHERE id = 1;
CREATE RULE sometimes AS ON UPDATE TO ruled WHERE old.locked DO INSTEAD NOTHING;
CALL deephash_encode_table('ruled', 'jpeg', 'code', 'm16');
SELECT i, locked, length(code) FROM ruled ORDER BY i;
CREATE RULE elsewhere AS ON UPDATE TO ruled DO INSTEAD NOTHING;
CALL deephash_encode_table('ruled', 'jpeg', 'code', 'm16');
DROP RULE sometimes ON ruled;
ALTER TABLE ruled DISABLE RULE elsewhere;
CALL deephash_encode_table('ruled', 'jpeg', 'code', 'm16');
SELECT i, locked, length(code) FROM ruled ORDER BY i;
DROP TABLE ruled;
CREATE ROLE encode_clerk;
SET ROLE encode_clerk;
CALL deephash_encode_table('part', 'jpeg', 'code');
RESET ROLE;
SELECT * FROM deephash_progress;

DROP VIEW state;
DROP TABLE picture, part, thick, thick_memory;
DROP FUNCTION note_memory;
DROP SCHEMA "Odd Place" CASCADE;
DROP ROLE encode_clerk;
SELECT deephash_drop_model(name::text) FROM deephash_models;

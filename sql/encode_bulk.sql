-- Many images at once: arrays, sets, and the statement trigger.
\set tiny16 `base64 -w0 build/fixtures/tiny16.safetensors`
\set tiny64 `base64 -w0 build/fixtures/tiny64.safetensors`
\set red `base64 -w0 build/fixtures/red.jpg`
\set green `base64 -w0 build/fixtures/green.jpg`
\set large `base64 -w0 build/fixtures/large.jpg`
SELECT deephash_load_model('m16', decode(:'tiny16', 'base64'));
SELECT deephash_load_model('m64', decode(:'tiny64', 'base64'));
CREATE TABLE picture (id int PRIMARY KEY, data bytea);
INSERT INTO picture VALUES (1, decode(:'red', 'base64')), (2, decode(:'green', 'base64')),
  (3, decode(:'large', 'base64')), (4, NULL);

-- the same codes as one at a time, in the order of the array
SELECT a.code IS NOT DISTINCT FROM deephash_encode(p.data, 'm64') AS same, a.code IS NULL AS no_code
FROM (SELECT deephash_encode_array(array_agg(data ORDER BY id), 'm64') FROM picture) c(codes),
  unnest(codes) WITH ORDINALITY a(code, id) JOIN picture p USING (id) ORDER BY id;
SELECT deephash_embed_array(array_agg(data ORDER BY id))::text = format('{%s,%s}',
  deephash_embed((array_agg(data ORDER BY id))[1]), '{' || repeat('NULL,', 15) || 'NULL}') AS same
FROM picture WHERE id IN (1, 4);
SELECT ordinality, code = deephash_encode(data) AS same, code IS NULL AS no_code, error
FROM (SELECT array_agg(data ORDER BY id) || '\x00'::bytea || 'hello'::bytea FROM picture) a(images),
  deephash_encode_set(images) LEFT JOIN picture ON id = ordinality ORDER BY ordinality;
-- far more than may be on their way at once
SELECT count(*), count(DISTINCT code), bool_and(code = (SELECT deephash_encode(data, 'm64') FROM picture WHERE id = ordinality % 2 + 1)) AS right
FROM deephash_encode_set((SELECT array_agg(data ORDER BY i) FROM generate_series(1, 1000) i JOIN picture ON id = i % 2 + 1), 'm64');
-- how many share a forward pass depends on the machine (test_service_queue.c proves that they do)
SELECT images >= 1000 AS images, batches BETWEEN 1 AND images AS batches, largest_batch BETWEEN 1 AND 32 AS largest FROM deephash_stats;

-- nothing, wrong shapes, bad images
SELECT deephash_encode_array('{}'), deephash_encode_array(NULL) IS NULL AS is_null, deephash_encode_array('{NULL}'),
  deephash_embed_array('{}'), (SELECT count(*) FROM deephash_encode_set('{}'));
SELECT deephash_encode_array('{{"\\x00"},{"\\x01"}}');
SELECT deephash_encode_array('{"\\x00"}', 'nothing');
SELECT deephash_encode_array(ARRAY[data, 'hello', NULL]) FROM picture WHERE id = 1;
SELECT deephash_embed_array(ARRAY[data, 'hello', NULL]) FROM picture WHERE id = 1;
SET deephash.bad_image = warning;
SELECT array_length(codes, 1), codes[1] IS NULL AS a, codes[2] IS NULL AS b
FROM (SELECT deephash_encode_array(ARRAY[data, 'hello']) AS codes FROM picture WHERE id = 1 OFFSET 0) s;
RESET deephash.bad_image;

-- the statement trigger: one row or many, in one piece or by COPY
CREATE SCHEMA "Odd Place";
CREATE TABLE "Odd Place"."Photo" (a int, "b c" text, "The Jpeg" bytea, "Code" hashcode(64), PRIMARY KEY ("b c", a));
CREATE TRIGGER made AFTER INSERT ON "Odd Place"."Photo" REFERENCING NEW TABLE AS "New Rows"
  FOR EACH STATEMENT EXECUTE FUNCTION deephash_encode_statement_trigger('The Jpeg', 'Code', 'm64');
CREATE TRIGGER remade AFTER UPDATE ON "Odd Place"."Photo" REFERENCING NEW TABLE AS n OLD TABLE AS o
  FOR EACH STATEMENT EXECUTE FUNCTION deephash_encode_statement_trigger('The Jpeg', 'Code', 'm64');
CREATE VIEW state AS SELECT count(*) AS rows, count("Code") AS codes,
  count(*) FILTER (WHERE "Code" IS DISTINCT FROM deephash_encode("The Jpeg", 'm64')) AS wrong FROM "Odd Place"."Photo";
INSERT INTO "Odd Place"."Photo" SELECT i, 'x', data FROM generate_series(1, 600) i JOIN picture ON id = i % 4 + 1;
SELECT * FROM state;
INSERT INTO "Odd Place"."Photo" SELECT 0, 'x' WHERE false;
\copy (SELECT i, 'y', data FROM generate_series(1, 100) i JOIN picture ON id = i % 4 + 1) TO 'build/pictures.copy'
\copy "Odd Place"."Photo" (a, "b c", "The Jpeg") FROM 'build/pictures.copy'
SELECT * FROM state;
-- an UPDATE encodes what it changed, once
SELECT images AS before FROM deephash_service \gset
UPDATE "Odd Place"."Photo" SET a = a + 1000 WHERE "b c" = 'y' AND a % 4 = 0 AND a < 20;
SELECT images - :before AS encoded FROM deephash_service;
UPDATE "Odd Place"."Photo" SET "The Jpeg" = (SELECT data FROM picture WHERE id = 2) WHERE "b c" = 'x' AND a % 4 <> 3 AND a <= 40;
SELECT images - :before AS encoded FROM deephash_service;
UPDATE "Odd Place"."Photo" SET "The Jpeg" = NULL WHERE "b c" = 'y' AND a < 20;
UPDATE "Odd Place"."Photo" SET "Code" = NULL WHERE "b c" = 'y';
SELECT * FROM state;
-- all or nothing
INSERT INTO "Odd Place"."Photo" SELECT i, 'z', CASE i WHEN 400 THEN 'hello' ELSE data END FROM generate_series(1, 500) i, picture WHERE id = 1;
SET deephash.bad_image = warning;
INSERT INTO "Odd Place"."Photo" SELECT i, 'z', CASE i WHEN 400 THEN 'hello' ELSE data END FROM generate_series(1, 500) i, picture WHERE id = 1;
RESET deephash.bad_image;
SELECT "b c", count(*), count("Code") FROM "Odd Place"."Photo" GROUP BY 1 ORDER BY 1;
-- conflicts, partitions, a search_path that wants to mislead it
INSERT INTO "Odd Place"."Photo" SELECT a, 'x', data FROM generate_series(598, 603) a, picture WHERE id = 1
  ON CONFLICT ("b c", a) DO UPDATE SET "The Jpeg" = EXCLUDED."The Jpeg";
SELECT bool_and("Code" = (SELECT deephash_encode(data, 'm64') FROM picture WHERE id = 1)) FROM "Odd Place"."Photo" WHERE "b c" = 'x' AND a >= 598;
CREATE FUNCTION "Odd Place".never(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR "Odd Place".= (FUNCTION = "Odd Place".never, LEFTARG = int, RIGHTARG = int);
SET search_path = "Odd Place", public, pg_catalog;
INSERT INTO "Photo" SELECT 10000, 'x', data FROM picture WHERE id OPERATOR(pg_catalog.=) 1;
SELECT "Code" IS NULL AS no_code FROM "Photo" WHERE a OPERATOR(pg_catalog.=) 10000;
RESET search_path;
CREATE TABLE part (id int PRIMARY KEY, jpeg bytea, code hashcode) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (50);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (50) TO (100);
CREATE TRIGGER made AFTER INSERT ON part REFERENCING NEW TABLE AS n
  FOR EACH STATEMENT EXECUTE FUNCTION deephash_encode_statement_trigger('jpeg', 'code');
INSERT INTO part SELECT i, data FROM generate_series(0, 99) i, picture WHERE picture.id = 1;
SELECT tableoid::regclass, count(*), count(code), min(length(code)) FROM part GROUP BY 1 ORDER BY 1;
-- rights: the one who inserts writes the codes
CREATE ROLE encode_clerk;
DELETE FROM part WHERE id < 2;
GRANT INSERT ON part TO encode_clerk;
GRANT SELECT ON picture TO encode_clerk;
SET ROLE encode_clerk;
INSERT INTO part SELECT 0, data FROM picture WHERE id = 1;
RESET ROLE;
GRANT SELECT, UPDATE (code) ON part TO encode_clerk;
SET ROLE encode_clerk;
INSERT INTO part SELECT 0, data FROM picture WHERE id = 1;
RESET ROLE;
SELECT count(code) FROM part WHERE id = 0;
-- a rule that replaces UPDATE would lose the codes
CREATE RULE elsewhere AS ON UPDATE TO part DO INSTEAD NOTHING;
INSERT INTO part SELECT 1, data FROM picture WHERE id = 1;
INSERT INTO part VALUES (1, NULL);
DROP RULE elsewhere ON part;

-- images that are refused or go away take their codes with them, whoever gave them
CREATE TABLE kept (id int PRIMARY KEY, jpeg bytea, code hashcode(64));
CREATE TRIGGER made AFTER INSERT ON kept REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION deephash_encode_statement_trigger('jpeg', 'code', 'm64');
CREATE TRIGGER remade AFTER UPDATE ON kept REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION deephash_encode_statement_trigger('jpeg', 'code', 'm64');
SET deephash.bad_image = warning;
INSERT INTO kept VALUES (1, 'hello', '0123456789abcdef'), (2, NULL, '0123456789abcdef');
INSERT INTO kept SELECT id + 2, data FROM picture WHERE id <= 2;
UPDATE kept SET jpeg = 'hello' WHERE id = 3;
RESET deephash.bad_image;
SELECT id, code IS NULL AS no_code FROM kept ORDER BY id;
-- rows that a policy keeps from being written
ALTER TABLE kept ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_them ON kept FOR INSERT WITH CHECK (true);
CREATE POLICY readers ON kept FOR SELECT USING (true);
CREATE POLICY writers ON kept FOR UPDATE USING (id > 10);
GRANT SELECT, INSERT, UPDATE ON kept TO encode_clerk;
GRANT SELECT ON picture TO encode_clerk;
SET ROLE encode_clerk;
INSERT INTO kept SELECT i, data FROM generate_series(9, 12) i, picture p WHERE p.id = 1;
RESET ROLE;
SELECT id, code IS NULL AS no_code FROM kept WHERE id BETWEEN 9 AND 12 ORDER BY id;
-- columns that are generated
CREATE TABLE generated (id int PRIMARY KEY, jpeg bytea, copy bytea GENERATED ALWAYS AS (jpeg) STORED,
  code hashcode(64), other hashcode(64) GENERATED ALWAYS AS (code) STORED);
INSERT INTO generated SELECT id, data FROM picture WHERE id = 1;
CALL deephash_encode_table('generated', 'jpeg', 'other', 'm64');
CREATE TRIGGER row BEFORE UPDATE ON generated FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('copy', 'code', 'm64');
UPDATE generated SET id = 1;
DROP TRIGGER row ON generated;
CREATE TRIGGER row BEFORE UPDATE ON generated FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'other', 'm64');
UPDATE generated SET id = 1;
DROP TRIGGER row ON generated;
SET client_min_messages = warning;
CALL deephash_encode_table('generated', 'copy', 'code', 'm64');
RESET client_min_messages;
SELECT code = other AND code = deephash_encode(jpeg, 'm64') AS same FROM generated;

-- wrong triggers
CREATE TABLE wrong (jpeg bytea, code hashcode(64), words text);
CREATE FUNCTION try_trigger(what text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER wrong %s EXECUTE FUNCTION deephash_encode_statement_trigger(%s)', what, arguments);
  INSERT INTO wrong VALUES ('');
  UPDATE wrong SET words = '';
  DELETE FROM wrong;
  RETURN 'accepted';
EXCEPTION WHEN others THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT try_trigger('AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT', '''jpeg'', ''code'', ''m64''');
ALTER TABLE wrong ADD id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
SELECT try_trigger('AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT', '''jpeg'', ''code'', ''m16''');
SELECT try_trigger('AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT', '''jpeg'', ''words''');
SELECT try_trigger('AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT', '''none'', ''code''');
SELECT try_trigger('AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT', '''jpeg''');
SELECT try_trigger('AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT', '''jpeg'', ''code'', ''none''');
SELECT try_trigger('AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH ROW', '''jpeg'', ''code'', ''m64''');
SELECT try_trigger('AFTER INSERT ON wrong FOR EACH STATEMENT', '''jpeg'', ''code'', ''m64''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH STATEMENT', '''jpeg'', ''code'', ''m64''');
SELECT try_trigger('AFTER UPDATE ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT', '''jpeg'', ''code'', ''m64''');
SELECT try_trigger('AFTER DELETE ON wrong REFERENCING OLD TABLE AS n FOR EACH STATEMENT', '''jpeg'', ''code'', ''m64''');
SELECT try_trigger('AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT', '''jpeg'', ''code'', ''m64''');
SELECT deephash_encode_statement_trigger();

DROP TABLE picture, part, wrong, kept, generated;
DROP SCHEMA "Odd Place" CASCADE;
DROP FUNCTION try_trigger;
DROP ROLE encode_clerk;
SELECT deephash_drop_model(name::text) FROM deephash_models;

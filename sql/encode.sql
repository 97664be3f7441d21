-- deephash_encode, deephash_embed and the trigger.
\set tiny16 `base64 -w0 build/fixtures/tiny16.safetensors`
\set tiny64 `base64 -w0 build/fixtures/tiny64.safetensors`
\set red `base64 -w0 build/fixtures/red.jpg`
\set green `base64 -w0 build/fixtures/green.jpg`
\set large `base64 -w0 build/fixtures/large.jpg`
\set half `base64 -w0 build/fixtures/half.jpg`
\set png `base64 -w0 build/fixtures/picture.png`
SELECT deephash_load_model('m16', decode(:'tiny16', 'base64'));
SELECT deephash_load_model('m64', decode(:'tiny64', 'base64'));
CREATE TABLE picture (name text, data bytea);
ALTER TABLE picture ALTER data SET STORAGE external;
INSERT INTO picture VALUES ('red', decode(:'red', 'base64')), ('green', decode(:'green', 'base64')),
  ('large', decode(:'large', 'base64'));

-- the code is the sign of the logits; the same image gives the same code
SELECT name, length(deephash_encode(data)) AS bits, length(deephash_encode(data, 'm64')) AS bits64,
       array_length(deephash_embed(data, 'm64'), 1) AS logits,
       deephash_embed(data, 'm64')::hashcode = deephash_encode(data, 'm64') AS same,
       deephash_encode(data) = deephash_encode(data || '') AS again
FROM picture ORDER BY name;
SELECT count(DISTINCT deephash_encode(data, 'm64')) FROM picture;
SELECT deephash_encode(NULL) IS NULL AS null_code, deephash_embed(NULL, 'm64') IS NULL AS null_logits;
SELECT name FROM picture WHERE name <> 'large' ORDER BY deephash_encode(data, 'm64') <~>
  (SELECT deephash_encode(data, 'm64') FROM picture WHERE name = 'red');

-- images that are none
SELECT deephash_encode('');
SELECT deephash_encode('hello');
SELECT deephash_encode(decode(:'png', 'base64'), 'm64');
SELECT deephash_encode(decode('47494638396101000100', 'hex'));
SELECT deephash_encode('\xffd8ffe000104a46494600010100000100010000');
SELECT deephash_embed(decode(:'png', 'base64'));
SELECT deephash_encode(data, 'm32') FROM picture;
SELECT deephash_encode(data, '') FROM picture;
\set VERBOSITY sqlstate
SELECT deephash_encode('hello');
SELECT deephash_encode('hello', 'nothing');
\set VERBOSITY default
-- a file that breaks off
SELECT deephash_encode(decode(:'half', 'base64'));
-- a bulk load need not stop at a bad one
SET deephash.bad_image = warning;
SELECT deephash_encode('hello') IS NULL AS no_code, deephash_embed('hello') IS NULL AS no_logits;
SELECT deephash_encode('hello', 'nothing');
RESET deephash.bad_image;

-- the planner evaluates it once
CREATE TABLE code (id int, c hashcode(64));
INSERT INTO code SELECT i, lpad(to_hex(i), 16, '0')::hashcode FROM generate_series(1, 1000) i;
SELECT images AS before FROM deephash_service \gset
SELECT count(*) FROM (SELECT c <~> deephash_encode(decode(:'red', 'base64'), 'm64') AS d FROM code ORDER BY d) s;
SELECT images - :before AS encoded FROM deephash_service;
-- and an index serves it
CREATE INDEX ON code USING mih (c);
PREPARE nearest(bytea) AS SELECT id FROM code ORDER BY c <~> deephash_encode($1, 'm64') LIMIT 3;
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE nearest('');
SELECT images AS before FROM deephash_service \gset
CREATE TEMP TABLE by_index AS EXECUTE nearest(decode(:'red', 'base64'));
SELECT images - :before AS encoded FROM deephash_service;
SELECT array_agg(d ORDER BY d) = (SELECT array_agg(d) FROM (SELECT c <~> deephash_encode(decode(:'red', 'base64'), 'm64') AS d
  FROM code ORDER BY d LIMIT 3) s) AS nearest
FROM (SELECT c <~> deephash_encode(decode(:'red', 'base64'), 'm64') AS d FROM code JOIN by_index USING (id)) s;
RESET enable_seqscan;
RESET plan_cache_mode;

-- the trigger
CREATE TABLE photo (id int, jpeg bytea, code hashcode(64));
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON photo
  FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code', 'm64');
INSERT INTO photo (id, jpeg) VALUES (1, decode(:'red', 'base64')), (2, decode(:'green', 'base64')), (3, NULL);
SELECT id, code IS NULL AS no_code, code = deephash_encode(jpeg, 'm64') AS right FROM photo ORDER BY id;
-- an UPDATE that leaves the image alone encodes nothing
SELECT images AS before FROM deephash_service \gset
UPDATE photo SET id = id + 10;
UPDATE photo SET jpeg = jpeg;
SELECT images - :before AS encoded FROM deephash_service;
UPDATE photo SET jpeg = decode(:'green', 'base64') WHERE id = 11;
SELECT count(DISTINCT code) FROM photo;
UPDATE photo SET jpeg = NULL WHERE id = 11;
SELECT id, code FROM photo WHERE id = 11;
UPDATE photo SET jpeg = decode(:'red', 'base64') WHERE id = 13;
-- a code that was taken away is made anew
UPDATE photo SET code = NULL WHERE id = 12;
SELECT id, code = deephash_encode(jpeg, 'm64') AS right FROM photo WHERE jpeg IS NOT NULL ORDER BY id;
-- a bad image stops the statement
INSERT INTO photo (id, jpeg) VALUES (4, decode(:'red', 'base64')), (5, 'no image');
SELECT count(*) FROM photo;
UPDATE photo SET jpeg = decode(:'png', 'base64');
-- it is named where the table has a key
CREATE TABLE keyed (id int, "Part" text, jpeg bytea, code hashcode(64), PRIMARY KEY (id, "Part"));
CREATE TRIGGER encode BEFORE INSERT ON keyed
  FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code', 'm64');
INSERT INTO keyed (id, "Part", jpeg) SELECT i, 'x', CASE i WHEN 7 THEN 'no image' ELSE decode(:'red', 'base64') END
  FROM generate_series(1, 10) i;
INSERT INTO keyed (id, jpeg) VALUES (8, 'no image');
DROP TABLE keyed;
SET deephash.bad_image = warning;
INSERT INTO photo (id, jpeg) VALUES (4, decode(:'red', 'base64')), (5, 'no image');
SELECT id, code IS NULL AS no_code FROM photo WHERE id < 10 ORDER BY id;
RESET deephash.bad_image;

-- default model, plain column, large values out of line, domains
CREATE DOMAIN jpeg AS bytea;
CREATE DOMAIN code64 AS hashcode(64);
CREATE TABLE album (pic jpeg, c hashcode, d code64);
CREATE TRIGGER c BEFORE INSERT OR UPDATE ON album FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('pic', 'c');
CREATE TRIGGER d BEFORE INSERT OR UPDATE ON album FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('pic', 'd', 'm64');
INSERT INTO album SELECT data FROM picture;
SELECT images AS before FROM deephash_service \gset
UPDATE album SET pic = pic, c = c;
SELECT images - :before AS encoded FROM deephash_service;
SELECT length(c) AS c, length(d) AS d, count(*) FROM album GROUP BY 1, 2;

CREATE DOMAIN no_code AS hashcode CHECK (VALUE IS NULL);
CREATE TABLE strict (pic bytea, c no_code);
CREATE TRIGGER c BEFORE INSERT ON strict FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('pic', 'c');
INSERT INTO strict VALUES (NULL);
INSERT INTO strict SELECT data FROM picture;

-- a column that is too short or too long
CREATE TABLE short (jpeg bytea, code hashcode(32));
CREATE TRIGGER encode BEFORE INSERT ON short
  FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code', 'm64');
INSERT INTO short VALUES (decode(:'red', 'base64'));
INSERT INTO short VALUES (NULL);
INSERT INTO code SELECT 0, deephash_encode(data, 'm16') FROM picture;
ALTER TABLE album ALTER d TYPE hashcode(16) USING NULL;
INSERT INTO album SELECT data FROM picture;

-- wrong triggers
CREATE TABLE wrong (jpeg bytea, code hashcode(64), words text);
CREATE FUNCTION try_trigger(what text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER wrong %s EXECUTE FUNCTION deephash_encode_trigger(%s)', what, arguments);
  INSERT INTO wrong VALUES ('');
  DELETE FROM wrong;
  RETURN 'accepted';
EXCEPTION WHEN others THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT try_trigger('AFTER INSERT ON wrong FOR EACH ROW', '''jpeg'', ''code'', ''m64''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH STATEMENT', '''jpeg'', ''code'', ''m64''');
SELECT try_trigger('BEFORE DELETE ON wrong FOR EACH ROW', '''jpeg'', ''code'', ''m64''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '''jpeg'', ''code'', ''m64'', ''more''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '''picture'', ''code''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '''jpeg'', ''hash''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '''jpeg'', ''words''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '''words'', ''code''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '''jpeg'', ''code'', ''nothing''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '''jpeg'', ''ctid''');
SELECT try_trigger('BEFORE INSERT ON wrong FOR EACH ROW', '''jpeg'', ''code'', ''m64''');
SELECT deephash_encode_trigger();

SELECT deephash_ping();
SELECT pid > 0 AS pid, device IS NOT NULL AS device, clients > 0 AS clients, models > 0 AS models, failures > 0 AS failures
FROM deephash_service;
DROP TABLE picture, code, photo, album, strict, short, wrong;
DROP FUNCTION try_trigger;
DROP DOMAIN jpeg, code64, no_code;
SELECT deephash_drop_model(name::text) FROM deephash_models;

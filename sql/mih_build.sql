-- CREATE INDEX by one process and by several gives indexes that answer alike.
SET max_parallel_maintenance_workers = 0;
SET min_parallel_table_scan_size = 0;

CREATE TABLE built (id int, code hashcode);
ALTER TABLE built SET (parallel_workers = 2);
-- Evenly spread codes, a fifth of them twice, many of one code, and NULLs.
INSERT INTO built
  SELECT i, CASE WHEN i % 97 = 0 THEN NULL
                 WHEN i % 11 = 0 THEN hashcode('\x00ff00ff00ff00ff'::bytea)
                 ELSE hashcode(decode(left(md5((i - i % 5 / 4)::text), 16), 'hex')) END
  FROM generate_series(1, 60000) i;
-- And rows that are dead.
BEGIN;
INSERT INTO built SELECT -i, hashcode('\x0011'::bytea) FROM generate_series(1, 1000) i;
ROLLBACK;

-- Builds an index with and without workers, checks it, and compares its answers with a sequential scan.
CREATE FUNCTION build(what text, options text, workers int, memory text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  entries bigint;
  wrong int;
BEGIN
  PERFORM set_config('max_parallel_maintenance_workers', workers::text, true);
  PERFORM set_config('maintenance_work_mem', memory, true);
  EXECUTE format('CREATE INDEX built_mih ON built USING mih (%s) %s', what, options);
  entries := mih_check('built_mih', true);
  EXECUTE $q$
    WITH query AS (SELECT code FROM built WHERE code IS NOT NULL AND id % 4001 = 0)
    SELECT count(*) FROM query, LATERAL (
      SELECT array_agg(d ORDER BY d) a FROM (SELECT built.code <~> query.code d FROM built
        WHERE id % 2 >= 0 ORDER BY built.code <~> query.code LIMIT 20) x) ours, LATERAL (
      SELECT array_agg(d ORDER BY d) a FROM (SELECT hamming_distance(built.code, query.code) d FROM built
        WHERE code IS NOT NULL ORDER BY 1 LIMIT 20) x) theirs
    WHERE ours.a IS DISTINCT FROM theirs.a $q$ INTO wrong;
  DROP INDEX built_mih;
  RETURN format('%s entries, %s wrong', entries, wrong);
END $$;
SET enable_seqscan = off;
SELECT workers, memory, options, build('code', options, workers, memory)
  FROM (VALUES (0), (2)) w (workers), (VALUES ('1MB'), ('64MB')) m (memory),
       (VALUES (''), ('WITH (chunks = 4)'), ('WITH (layout = references)'), ('WITH (layout = packed)')) o (options)
  ORDER BY 3, 2, 1;
RESET enable_seqscan;

-- Workers are there, and what goes wrong in one ends the build.
SET max_parallel_maintenance_workers = 2;
SET maintenance_work_mem = '128MB';
SELECT set_config('test.leader', pg_backend_pid()::text, false) IS NOT NULL AS ready;
CREATE FUNCTION only_leader(code hashcode) RETURNS hashcode IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
BEGIN
  IF pg_backend_pid()::text <> current_setting('test.leader') THEN
    RAISE 'this is a worker';
  END IF;
  PERFORM pg_sleep(0.001);
  RETURN code;
END $$;
\set VERBOSITY terse
CREATE INDEX built_mih ON built USING mih (only_leader(code));
\set VERBOSITY default
SELECT count(*) AS left_behind FROM pg_class WHERE relname = 'built_mih';
SELECT count(*) AS files FROM pg_ls_tmpdir();
DROP FUNCTION only_leader;
CREATE INDEX built_mih ON built USING mih (code) WITH (chunks = 2);

-- Rebuilding, also beside others.
REINDEX INDEX built_mih;
SELECT mih_check('built_mih', true);
REINDEX INDEX CONCURRENTLY built_mih;
SELECT mih_check('built_mih', true);
CREATE INDEX CONCURRENTLY built_part ON built USING mih (code) WHERE id % 3 = 0;
SELECT mih_check('built_part', true) = (SELECT count(*) FROM built WHERE id % 3 = 0) AS whole;
DROP INDEX built_mih, built_part;

-- Partial and expression indexes.
CREATE INDEX built_part ON built USING mih (code) WHERE id < 20000;
SELECT mih_check('built_part', true) = (SELECT count(*) FROM built WHERE id < 20000) AS whole;
CREATE INDEX built_expression ON built USING mih (hashcode(decode(md5(id::text), 'hex')));
SELECT mih_check('built_expression', true) = (SELECT count(*) FROM built) AS whole;
DROP INDEX built_part, built_expression;

-- A code of another length, wherever it is met, and nothing stays behind.
BEGIN;
INSERT INTO built VALUES (0, 'ff00ff00');
\set VERBOSITY terse
DO $$
BEGIN
  CREATE INDEX built_mih ON built USING mih (code);
EXCEPTION WHEN others THEN
  RAISE NOTICE '%', regexp_replace(SQLERRM, '\y(64|32)\y', 'N', 'g');
END $$;
\set VERBOSITY default
SELECT count(*) AS left_behind FROM pg_class WHERE relname = 'built_mih';
SELECT count(*) AS files FROM pg_ls_tmpdir();
ROLLBACK;

-- Nothing, and nothing but NULLs.
CREATE TABLE built_none (code hashcode) WITH (parallel_workers = 2);
CREATE INDEX ON built_none USING mih (code);
SELECT mih_check('built_none_code_idx', true);
INSERT INTO built_none SELECT NULL FROM generate_series(1, 3000);
REINDEX INDEX built_none_code_idx;
SELECT mih_check('built_none_code_idx', true);
TRUNCATE built_none;
SELECT mih_check('built_none_code_idx', true);

-- Unlogged tables, and temporary ones, that no worker can see.
CREATE UNLOGGED TABLE built_unlogged WITH (parallel_workers = 2) AS SELECT * FROM built;
CREATE INDEX built_unlogged_mih ON built_unlogged USING mih (code);
SELECT mih_check('built_unlogged_mih', true) = (SELECT count(*) FROM built) AS whole;
CREATE TEMP TABLE built_temp WITH (parallel_workers = 2) AS SELECT * FROM built;
CREATE INDEX built_temp_mih ON built_temp USING mih (code);
SELECT mih_check('built_temp_mih', true) = (SELECT count(*) FROM built) AS whole;

-- Created, filled and indexed by one transaction.
BEGIN;
CREATE TABLE built_young WITH (parallel_workers = 2) AS SELECT * FROM built;
CREATE INDEX built_young_mih ON built_young USING mih (code);
SELECT mih_check('built_young_mih', true) = (SELECT count(*) FROM built) AS whole;
COMMIT;
SELECT mih_check('built_young_mih', true) = (SELECT count(*) FROM built) AS whole;

-- So many equal codes that they are one range of keys, and more sorted runs than are merged at a time.
SET max_parallel_maintenance_workers = 0;
SET maintenance_work_mem = '1MB';
CREATE TABLE built_alike AS SELECT hashcode(decode(repeat(CASE WHEN i % 50 = 0 THEN to_hex(i % 16) ELSE '5' END, 1024), 'hex')) AS code
  FROM generate_series(1, 72000) i;
CREATE INDEX built_alike_mih ON built_alike USING mih (code) WITH (layout = packed);
SELECT mih_check('built_alike_mih', true);
DROP TABLE built_alike;
RESET max_parallel_maintenance_workers;
RESET maintenance_work_mem;

DROP TABLE built, built_none, built_unlogged, built_temp, built_young;
DROP FUNCTION build;

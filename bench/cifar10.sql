-- cifar10.sql: what cifar10.sh does inside the server.  Variables: work, bits.
\pset footer off
\set database_file :work '/database.tsv'
\set queries_file :work '/queries.tsv'
\set model_file :work '/model.safetensors'
\set codes_file :work '/query_codes.tsv'
\set map_file :work '/map.txt'
CREATE EXTENSION deephash;
SELECT deephash_load_model('cifar10', :'model_file') AS bits_of_the_model;

CREATE TABLE database (name text, code hashcode(:bits), class text);
COPY database FROM :'database_file';
CREATE INDEX database_code ON database USING mih (code);
ANALYZE database;

CREATE TABLE query (path text, class text, jpeg bytea, code hashcode(:bits));
CREATE TRIGGER query_code BEFORE INSERT OR UPDATE OF jpeg ON query
  FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code', 'cifar10');
CREATE TEMP TABLE manifest (path text, class text);
COPY manifest FROM :'queries_file';
SELECT clock_timestamp() AS began \gset
INSERT INTO query (path, class, jpeg)
  SELECT path, class, pg_read_binary_file(:'work' || '/jpeg/' || path) FROM manifest;
SELECT count(*) AS "encoded by the trigger", count(DISTINCT code) AS "distinct codes",
       round(count(*) / extract(epoch FROM clock_timestamp() - :'began'::timestamptz)) AS "pictures a second"
  FROM query;
COPY (SELECT path, code, class FROM query ORDER BY path) TO STDOUT \g :codes_file

-- Expected average precision when items at one distance come in random order.  A
-- group of n items, r of them relevant, that begins after N items of which Q were
-- relevant, adds sum over j = 1 .. n of (r/n) (Q + 1 + (j - 1) a) / (N + j), where
-- a = (r - 1) / (n - 1) is what each earlier item of the group adds on average:
-- in closed form through harmonic numbers h.
CREATE TABLE harmonic AS
  SELECT i, sum(1.0::float8 / greatest(i, 1)) FILTER (WHERE i > 0) OVER (ORDER BY i) AS h
  FROM generate_series(0, (SELECT count(*) FROM database)) AS i;
UPDATE harmonic SET h = 0 WHERE i = 0;
ALTER TABLE harmonic ADD PRIMARY KEY (i);
ANALYZE harmonic;

SELECT code AS q FROM query ORDER BY path LIMIT 1 \gset
SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT code <~> :'q' AS distance FROM database ORDER BY code <~> :'q';
RESET enable_seqscan;
RESET enable_sort;

CREATE FUNCTION average_precision(q hashcode, wanted text) RETURNS float8
LANGUAGE sql STABLE PARALLEL SAFE COST 1000000
AS $$
  WITH groups AS MATERIALIZED (
    SELECT distance, count(*)::float8 AS n, (count(*) FILTER (WHERE relevant))::float8 AS r
    FROM (SELECT d.code <~> q AS distance, d.class = wanted AS relevant
          FROM database AS d ORDER BY d.code <~> q) AS ranked
    GROUP BY distance),
  before AS (
    SELECT n, r, sum(n) OVER w - n AS seen, sum(r) OVER w - r AS hits,
           CASE WHEN n > 1 THEN (r - 1) / (n - 1) ELSE 0 END AS a
    FROM groups WINDOW w AS (ORDER BY distance))
  SELECT sum((r / n) * (n * a + (hits + 1 - (seen + 1) * a) * (upto.h - from_.h))) / nullif(sum(r), 0)
  FROM before
  JOIN harmonic AS from_ ON from_.i = seen::int8
  JOIN harmonic AS upto ON upto.i = (seen + n)::int8
  WHERE r > 0
$$;
SET enable_seqscan = off;
SET enable_sort = off;
SET jit = off; -- compiling each ranking's plan takes longer than running it
-- equal codes of one class have equal rankings
CREATE TABLE judged AS SELECT code, class, count(*) AS times FROM query GROUP BY code, class;
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET max_parallel_workers_per_gather = 2;
SELECT clock_timestamp() AS began \gset
SELECT sum(times * coalesce(average_precision(code, class), 0)) / sum(times) AS map
  FROM judged \gset
RESET enable_seqscan;
RESET enable_sort;
SELECT :'map' AS "mAP@all in SQL, through the index",
       round(extract(epoch FROM clock_timestamp() - :'began'::timestamptz)) AS seconds;
\o :map_file
\qecho :map
\o

-- Ten neighbours of one picture, as an application asks.
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)
  SELECT name, class, code <~> :'q' AS distance FROM database ORDER BY code <~> :'q' LIMIT 10;
SELECT * FROM mih_stats('database_code');
SELECT mih_check('database_code', true);

-- search.sql: one data set of search.sh.  Wants table codes(code) and queries(n,
-- code) filled; prints one line of figures, separated by blanks.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET max_parallel_maintenance_workers = 0;
SET maintenance_work_mem = '256MB';

CREATE TABLE results (name text PRIMARY KEY, value numeric);

-- CPU of this session so far, in milliseconds (Linux).  The kernel accounts for it
-- when the session lets go of the processor, hence the nap.
CREATE FUNCTION cpu_ms() RETURNS numeric LANGUAGE sql VOLATILE AS
	$$SELECT pg_sleep(0.002); SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::numeric / 1e6$$;

-- Run a statement and note its CPU and wall time.
CREATE FUNCTION timed(name text, statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	cpu numeric := cpu_ms();
	start timestamptz := clock_timestamp();
BEGIN
	EXECUTE statement;
	INSERT INTO results VALUES (name || '_cpu', cpu_ms() - cpu),
		(name || '_wall', extract(epoch FROM clock_timestamp() - start) * 1000);
END $$;

-- Ask every query three times and note p50 and p99 of the wall time and the mean
-- of the CPU time.  A time includes the executor, heap fetches and PL/pgSQL.
CREATE FUNCTION ask(name text, statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	times float8[] := '{}';
	cpu numeric;
	start timestamptz;
	q hashcode;
	asked int := 0;
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION ask_once(q hashcode) RETURNS void LANGUAGE plpgsql AS
		$f$BEGIN PERFORM * FROM (%s) s; END$f$', statement);
	FOR round IN 0 .. 3 LOOP
		IF round = 1 THEN
			cpu := cpu_ms(); -- the first round warms
		END IF;
		FOR q IN SELECT code FROM queries ORDER BY n LOOP
			start := clock_timestamp();
			PERFORM ask_once(q);
			IF round > 0 THEN
				times := times || extract(epoch FROM clock_timestamp() - start)::float8 * 1000;
				asked := asked + 1;
			END IF;
		END LOOP;
	END LOOP;
	INSERT INTO results VALUES (name || '_cpu', (cpu_ms() - cpu) / asked);
	INSERT INTO results SELECT name || '_p50', percentile_cont(0.5) WITHIN GROUP (ORDER BY t)
		FROM unnest(times) t;
	INSERT INTO results SELECT name || '_p99', percentile_cont(0.99) WITHIN GROUP (ORDER BY t)
		FROM unnest(times) t;
END $$;

-- Single-row inserts of some of the codes, in one transaction.
CREATE FUNCTION insert_rows(target regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c hashcode;
BEGIN
	FOR c IN SELECT code FROM codes LIMIT 20000 LOOP
		EXECUTE format('INSERT INTO %s VALUES ($1)', target) USING c;
	END LOOP;
END $$;

VACUUM ANALYZE codes;
SELECT timed('btree', 'CREATE INDEX codes_number ON codes (number)') \g /dev/null
SELECT timed('build', 'CREATE INDEX codes_code ON codes USING mih (code)') \g /dev/null
VACUUM ANALYZE codes;
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
SELECT ask('k10', 'SELECT ctid FROM codes ORDER BY code <~> q LIMIT 10') \g /dev/null
SELECT ask('k100', 'SELECT ctid FROM codes ORDER BY code <~> q LIMIT 100') \g /dev/null
SELECT ask('r4', 'SELECT ctid FROM codes WHERE code <@ hashball(q, 4)') \g /dev/null
SELECT ask('floor', 'SELECT ctid FROM queries WHERE n < 11') \g /dev/null

-- Exactness: row for row what a sequential scan and a sort by (distance, ctid) give.
CREATE TABLE by_index AS SELECT n, ARRAY(SELECT ctid FROM codes ORDER BY codes.code <~> q.code LIMIT 10) tids
	FROM (SELECT * FROM queries ORDER BY n LIMIT 10) q;
SET enable_seqscan = on;
SET enable_indexscan = off;
INSERT INTO results SELECT 'wrong', count(*) FROM by_index i JOIN queries q USING (n)
	WHERE tids <> ARRAY(SELECT ctid FROM codes ORDER BY codes.code <~> q.code, ctid LIMIT 10);
SET enable_indexscan = on;

CREATE TABLE into_plain (code hashcode);
CREATE TABLE into_mih (code hashcode);
CREATE INDEX ON into_mih USING mih (code);
SELECT timed('plain', 'SELECT insert_rows(''into_plain'')') \g /dev/null
SELECT timed('insert', 'SELECT insert_rows(''into_mih'')') \g /dev/null

INSERT INTO results SELECT 'bytes', pg_relation_size('codes_code')::numeric / count(*) FROM codes;
SELECT string_agg(name || '=' || round(value, 4), ' ' ORDER BY name) FROM results;

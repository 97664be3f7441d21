-- plan.sql: does the planner take the index exactly when it is faster?
--
--   make tree && test/with-cluster.sh build/plan-cluster psql -Xq -v rows=100000 -f bench/plan.sql
--
-- Each query is planned and run with the mih index and without; the columns are the
-- planner's costs, the fastest of several runs in milliseconds (of execution alone),
-- what the planner takes by itself, and how much longer that is than the faster.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS deephash;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
\if :{?rows}
\else
\set rows 100000
\endif
\if :{?kind}
\else
\set kind clustered
\endif

CREATE FUNCTION few_bits(seed text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
	SELECT hashtextextended(seed, 1) & hashtextextended(seed, 2) & hashtextextended(seed, 3)
$$;
CREATE TABLE t AS SELECT g AS id, h % 2 = 0 AS half, h % 10 = 0 AS tenth, h % 100 = 0 AS hundredth, h % 1000 AS thousandth,
	g % greatest(:rows / 10, 1) AS ten, hashcode(CASE :'kind' WHEN 'uniform' THEN hashtextextended(g::text, 0) ELSE hashtextextended((g % 100)::text, 0) # few_bits(g::text) END) AS code
	FROM (SELECT g, abs(hashint4(g)::bigint) AS h FROM generate_series(1, :rows) g) s;
CREATE INDEX mih_t ON t USING mih (code);
CREATE INDEX t_thousandth ON t (thousandth);
CREATE INDEX t_ten ON t (ten);
VACUUM ANALYZE t;

CREATE FUNCTION cost_of(query text, OUT total float8, OUT uses_mih boolean) LANGUAGE plpgsql AS $$
DECLARE
	plan text;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	total := (plan::json -> 0 -> 'Plan' ->> 'Total Cost')::float8;
	uses_mih := plan ~ 'mih_t';
END $$;
CREATE FUNCTION fastest(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
	best float8 := 'Infinity';
	spent float8 := 0;
	n int := 0;
BEGIN
	WHILE n < 3 OR (n < 30 AND spent < 60) LOOP
		EXECUTE 'EXPLAIN (ANALYZE, TIMING off, SUMMARY on, FORMAT json) ' || query INTO plan;
		best := least(best, (plan -> 0 ->> 'Execution Time')::float8);
		spent := spent + (plan -> 0 ->> 'Execution Time')::float8;
		n := n + 1;
	END LOOP;
	RETURN best;
END $$;
CREATE FUNCTION compare(query text) RETURNS TABLE (cost_with float8, cost_without float8, ms_with float8, ms_without float8, taken text, loss numeric) LANGUAGE plpgsql AS $$
DECLARE
	used boolean;
	own boolean;
BEGIN
	SELECT c.uses_mih INTO own FROM cost_of(query) c;
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	IF query !~ 'ORDER BY' THEN
		DROP INDEX t_ten, t_thousandth;
	END IF;
	SELECT c.total, c.uses_mih INTO cost_with, used FROM cost_of(query) c;
	IF NOT used THEN
		SET LOCAL enable_bitmapscan = off;
		SELECT c.total, c.uses_mih INTO cost_with, used FROM cost_of(query) c;
	END IF;
	ms_with := CASE WHEN used THEN fastest(query) END;
	cost_with := CASE WHEN used THEN cost_with END;
	RESET enable_seqscan;
	RESET enable_sort;
	SET LOCAL enable_indexscan = off;
	IF query !~ 'ORDER BY' THEN
		SET LOCAL enable_bitmapscan = off;
	ELSE
		SET LOCAL enable_bitmapscan = on;
	END IF;
	SELECT c.total INTO cost_without FROM cost_of(query) c;
	ms_without := fastest(query);
	taken := CASE WHEN own THEN 'mih' ELSE 'other' END;
	loss := round((CASE WHEN own THEN ms_with ELSE ms_without END / least(ms_with, ms_without))::numeric, 2);
	RETURN NEXT;
END $$;

\pset format aligned
\pset border 1
SELECT pg_table_size('t') / 8192 AS heap_pages, pages AS index_pages, chunks, segments FROM mih_stats('mih_t');
CREATE TEMP TABLE result (n serial, what text, cost_with float8, cost_without float8, ms_with float8, ms_without float8, taken text, loss numeric);
CREATE FUNCTION try(what text, query text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		INSERT INTO result (what, cost_with, cost_without, ms_with, ms_without, taken, loss) SELECT what, c.* FROM compare(query) c;
		RAISE EXCEPTION 'undo the dropping of indexes' USING ERRCODE = 'ZZ001', DETAIL = (SELECT row_to_json(r)::text FROM result r ORDER BY n DESC LIMIT 1);
	EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
		DECLARE
			kept text;
		BEGIN
			GET STACKED DIAGNOSTICS kept = PG_EXCEPTION_DETAIL;
			INSERT INTO result (what, cost_with, cost_without, ms_with, ms_without, taken, loss)
				SELECT r.what, r.cost_with, r.cost_without, r.ms_with, r.ms_without, r.taken, r.loss FROM json_populate_record(NULL::result, kept::json) r;
		END;
	END;
END $$;
SELECT code AS q FROM t WHERE id = greatest(:rows / 2, 1) \gset
DO $$ BEGIN PERFORM count(*) FROM t; END $$;
SELECT try('k = ' || k, format('SELECT id FROM t ORDER BY code <~> %L LIMIT %s', :'q', k)) FROM unnest(ARRAY[1, 10, 100, 1000, 10000]) k WHERE k < :rows \g /dev/null
SELECT try('stranger, k = ' || k, format('SELECT id FROM t ORDER BY code <~> %L LIMIT %s', '5a5a5a5a5a5a5a5a', k)) FROM unnest(ARRAY[1, 10, 100]) k WHERE k < :rows \g /dev/null
SELECT try('all rows', format('SELECT id FROM t ORDER BY code <~> %L', :'q')) \g /dev/null
SELECT try('k = 10, filter ' || f, format('SELECT id FROM t WHERE %s ORDER BY code <~> %L LIMIT 10', f, :'q')) FROM unnest(ARRAY['half', 'tenth', 'hundredth', 'thousandth = 7', 'thousandth < 3', 'thousandth < 10', 'thousandth < 30', 'thousandth < 100', 'thousandth < 300', 'ten = 3']) f \g /dev/null
SELECT try('radius ' || r, format('SELECT id FROM t WHERE code <@ hashball(%L, %s)', :'q', r)) FROM unnest(ARRAY[0, 2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 64]) r \g /dev/null
SELECT try('radius ' || r || ' in order', format('SELECT id FROM t WHERE code <@ hashball(%1$L, %2$s) ORDER BY code <~> %1$L', :'q', r)) FROM unnest(ARRAY[0, 4, 8, 12, 20, 32]) r \g /dev/null
SELECT try('radius ' || r || ' in order, k = 10', format('SELECT id FROM t WHERE code <@ hashball(%1$L, %2$s) ORDER BY code <~> %1$L LIMIT 10', :'q', r)) FROM unnest(ARRAY[4, 12, 32]) r \g /dev/null
SELECT what, round(cost_with::numeric, 1) cost_with, round(cost_without::numeric, 1) cost_without, round(ms_with::numeric, 3) ms_with, round(ms_without::numeric, 3) ms_without, taken, loss,
	CASE WHEN loss > 1.3 THEN '*' ELSE '' END AS wrong FROM result ORDER BY n;

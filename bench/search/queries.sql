-- queries.sql: k-NN, radius, filters, a join, and whether the answers are right.
-- Wants codes(code, number) with its index codes_code, queries(n, code), truth(n,
-- distances).
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
SET enable_memoize = off;
SELECT ask('k10', 'SELECT ctid FROM codes ORDER BY code <~> q LIMIT 10'),
	ask('k100', 'SELECT ctid FROM codes ORDER BY code <~> q LIMIT 100'),
	ask('r4', 'SELECT ctid FROM codes WHERE code <@ hashball(q, 4)'),
	ask('f1', 'SELECT ctid FROM codes WHERE number % 100 = 0 ORDER BY code <~> q LIMIT 10'),
	ask('f10', 'SELECT ctid FROM codes WHERE number % 10 = 0 ORDER BY code <~> q LIMIT 10'),
	ask('f50', 'SELECT ctid FROM codes WHERE number % 2 = 0 ORDER BY code <~> q LIMIT 10'),
	ask('floor', 'SELECT ctid FROM queries WHERE n < 11') \g /dev/null

-- 10,000 queries by one statement.
CREATE TEMP TABLE many AS SELECT q.code FROM queries q, generate_series(1, 10000 / (SELECT count(*)::int FROM queries));
SELECT timed('join', 'SELECT sum(d) FROM many,
	LATERAL (SELECT codes.code <~> many.code AS d FROM codes ORDER BY codes.code <~> many.code LIMIT 10) s') \g /dev/null

-- Distances of the ten nearest, by the index and by a pass outside the server; and
-- every row of the answer is another one.
SELECT note('wrong', count(*)) FROM truth JOIN queries q USING (n)
	CROSS JOIN LATERAL (SELECT array_agg(d ORDER BY d) AS distances, count(DISTINCT c) AS rows
		FROM (SELECT ctid AS c, code <~> q.code AS d FROM codes ORDER BY code <~> q.code LIMIT 10) s) i
	WHERE i.distances <> truth.distances OR i.rows <> 10 \g /dev/null
SELECT note('r4_wrong', count(*)) FROM (SELECT * FROM queries ORDER BY n LIMIT 3) q
	WHERE (SELECT count(*) FROM codes WHERE code <@ hashball(q.code, 4))
		<> (SELECT count(*) FROM codes WHERE (code <~> q.code) + 0 <= 4) \g /dev/null
SET enable_seqscan = on;
SET enable_indexscan = off;
SET max_parallel_workers_per_gather = 0;
SELECT prepare_query('SELECT ctid FROM codes ORDER BY code <~> q LIMIT 10') \g /dev/null
SELECT timed('seq', 'SELECT ask_once(code) FROM queries WHERE n = 1') \g /dev/null
RESET enable_indexscan;

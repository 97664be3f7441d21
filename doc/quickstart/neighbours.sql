-- neighbours.sql: a few queries with their neighbours, and precision at 10 over
-- all of them.
\pset pager off
\pset footer off
\echo 'SELECT class, code <~> :query AS distance FROM photo ORDER BY distance LIMIT 10'
\echo
SELECT q.class AS "query", string_agg(p.class || ' ' || p.distance, ', ' ORDER BY p.distance, p.id) AS "neighbours and their distances"
FROM (SELECT DISTINCT ON (class) * FROM query ORDER BY class, id LIMIT 8) q,
	LATERAL (SELECT id, class, code <~> q.code AS distance FROM photo ORDER BY distance LIMIT 5) p
GROUP BY q.id, q.class ORDER BY q.class;

SELECT count(*) AS queries,
	round(avg(p.hits) * 10, 1) || ' %' AS "precision@10",
	(SELECT round(100 * sum(n * n) / sum(n) ^ 2, 1) || ' %' FROM (SELECT count(*)::numeric n FROM photo GROUP BY class) c) AS "by chance"
FROM query q,
	LATERAL (SELECT count(*) FILTER (WHERE class = q.class) AS hits
		FROM (SELECT class FROM photo ORDER BY code <~> q.code LIMIT 10) near) p;

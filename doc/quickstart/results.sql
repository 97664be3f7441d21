-- results.sql: what `deephash-train sheet` shows: three queries of each class with
-- their ten nearest pictures.
SELECT 'query/' || q.class || '/' || q.name, row_number() OVER (PARTITION BY q.id ORDER BY p.distance, p.id),
	'database/' || p.class || '/' || p.name, p.distance, (p.class = q.class)::int
FROM (SELECT *, row_number() OVER (PARTITION BY class ORDER BY id) AS n FROM query) q,
	LATERAL (SELECT id, class, name, code <~> q.code AS distance FROM photo ORDER BY distance LIMIT 10) p
WHERE q.n <= 3
ORDER BY q.n, q.class, p.distance, p.id;

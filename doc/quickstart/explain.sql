-- explain.sql: the plan of one nearest-neighbour and one radius query.
\pset pager off
\pset format unaligned
\pset tuples_only on
SELECT code AS query FROM query ORDER BY id LIMIT 1 \gset
-- A few thousand rows are soon read one by one; the index is for more of them.
SET enable_seqscan = off;
\echo 'EXPLAIN (ANALYZE) SELECT id FROM photo ORDER BY code <~> :query LIMIT 10'
EXPLAIN (ANALYZE, COSTS off) SELECT id, class FROM photo ORDER BY code <~> :'query' LIMIT 10;
\echo
\echo 'EXPLAIN (ANALYZE) SELECT id FROM photo WHERE hamming_within(code, :query, 8)'
EXPLAIN (ANALYZE, COSTS off) SELECT id, class FROM photo WHERE hamming_within(code, :'query', 8);

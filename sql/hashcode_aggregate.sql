-- Aggregates over codes.
CREATE TABLE seen (g int, code hashcode);
INSERT INTO seen VALUES (1, 'b''0110'''), (1, 'b''0110'''), (1, 'b''1001'''), (1, 'b''1111'''), (1, 'b''1001'''),
  (1, 'b''1001'''), (1, 'b''0000'''), (2, 'a3'), (2, NULL), (3, NULL);
-- the centroid: each bit by majority; a tie gives 0
SELECT g, majority(code), bit_and(code), bit_or(code), bit_xor(code), bit_means(code) FROM seen GROUP BY g ORDER BY g;
SELECT majority(c) FROM (VALUES ('b''01'''::hashcode), ('b''11''')) v(c);
SELECT majority(code), bit_and(code), quality(code), bit_means(code) FROM seen WHERE false;
-- no code is nearer to all than the majority
SELECT (SELECT sum(code <~> m) FROM seen WHERE g = 1) = min(d) FROM (SELECT majority(code) m FROM seen WHERE g = 1) c,
  LATERAL (SELECT sum(code <~> x::bit(4)::hashcode) d FROM seen, generate_series(0, 15) x WHERE g = 1 GROUP BY x) s GROUP BY m;

-- quality: figures worked out by hand for these seven codes
SELECT (q).codes, (q).bits, round((q).bit_balance::numeric, 6) AS bit_balance, round((q).bit_entropy::numeric, 6) AS bit_entropy,
       round((q).effective_bits::numeric, 6) AS effective_bits, (q).constant_bits, (q).distinct_codes,
       round((q).collision_shared::numeric, 6) AS collision_shared, round((q).collision_lost::numeric, 6) AS collision_lost,
       (q).colliding_pairs, (q).exact
FROM (SELECT quality(code) q FROM seen WHERE g = 1) s;
SELECT g, round(bit_correlation(code)::numeric, 6) AS bit_correlation FROM seen GROUP BY g ORDER BY g;
SELECT bit_correlation(c), bit_correlation(~ c) FROM (VALUES ('3'::hashcode), ('c'), ('3')) v(c);
-- against corr(), pair by pair
WITH codes AS (SELECT left(md5((n % 50)::text), 3)::hashcode & left(md5((n % 7)::text), 3)::hashcode AS c FROM generate_series(1, 400) n),
     pairs AS (SELECT abs(corr(get_bit(c, i), get_bit(c, j))) r FROM codes, generate_series(0, 11) i, generate_series(0, 11) j WHERE i < j GROUP BY i, j)
SELECT abs((SELECT bit_correlation(c) FROM codes) - (SELECT avg(r) FROM pairs)) < 1e-9 AS equal;
SELECT (quality(c)).* FROM (VALUES ('f0'::hashcode), ('f0')) v(c);

-- past 65536 different codes the counts are estimates, and say so
SELECT (q).codes, (q).exact, (q).colliding_pairs, abs((q).distinct_codes - 150000) < 3000 AS distinct_close,
       abs((q).collision_shared - 0.5) < 0.02 AS shared_close, abs((q).collision_lost - 0.25) < 0.02 AS lost_close
FROM (SELECT quality(hashcode((n % 150000 * 2654435761)::bigint)) q
      FROM (SELECT CASE WHEN n < 150000 THEN n ELSE n - 150000 END n FROM generate_series(0, 199999) n) s) t;

-- the same in parallel as alone
CREATE TABLE many AS SELECT n % 3 AS g, hashcode((n % 5000 * 2654435761 * 40503 % 1000000007 * n % 700)::bigint) AS code FROM generate_series(1, 20000) n;
ANALYZE many;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE alone AS SELECT g, majority(code), bit_and(code), bit_or(code), bit_xor(code), bit_means(code), bit_correlation(code), quality(code) FROM many GROUP BY g;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_hashagg = on;
EXPLAIN (COSTS OFF) SELECT majority(code), quality(code) FROM many;
CREATE TABLE together AS SELECT g, majority(code), bit_and(code), bit_or(code), bit_xor(code), bit_means(code), bit_correlation(code), quality(code) FROM many GROUP BY g;
SELECT count(*) FROM alone a JOIN together t USING (g)
WHERE a.majority = t.majority AND a.bit_and = t.bit_and AND a.bit_or = t.bit_or AND a.bit_xor = t.bit_xor
  AND a.bit_means = t.bit_means AND a.bit_correlation = t.bit_correlation AND a.quality = t.quality;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- codes of one length only
SELECT majority(code) FROM seen;
SELECT quality(code) FROM seen;
SELECT bit_and(code) FROM seen;
SELECT bit_correlation(code) FROM seen;
SELECT bit_correlation(repeat('f', 257)::hashcode);
\set VERBOSITY sqlstate
SELECT majority(code) FROM seen;
SELECT bit_correlation(repeat('f', 257)::hashcode);
-- Refused by the function, or by later servers before it is called.
DO $$ BEGIN
  PERFORM bitcounts_transition(NULL, 'a');
  RAISE EXCEPTION 'called outside of an aggregate';
EXCEPTION WHEN undefined_function OR feature_not_supported THEN NULL;
END $$;
DROP TABLE seen, many, alone, together;
\set VERBOSITY default

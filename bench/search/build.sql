-- build.sql: CREATE INDEX without workers, beside a btree; a btree with workers; and
-- the sizes and speed of other layouts.  Leaves codes_number, codes_code as built.
SELECT timed('btree', 'CREATE INDEX codes_number ON codes (number)') \g /dev/null
DROP INDEX codes_number;
SELECT timed('mih', 'CREATE INDEX codes_code ON codes USING mih (code)') \g /dev/null
SELECT note('bytes', pg_relation_size('codes_code')::numeric / count(*)) FROM codes \g /dev/null
DROP INDEX codes_code;
CREATE INDEX codes_code ON codes USING mih (code) WITH (chunks = 4);
SELECT note('four_bytes', pg_relation_size('codes_code')::numeric / count(*)) FROM codes \g /dev/null
DROP INDEX codes_code;
CREATE INDEX codes_code ON codes USING mih (code) WITH (layout = packed);
SELECT note('packed_bytes', pg_relation_size('codes_code')::numeric / count(*)) FROM codes \g /dev/null
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
SELECT ask('packed', 'SELECT ctid FROM codes ORDER BY code <~> q LIMIT 10') \g /dev/null
RESET max_parallel_maintenance_workers;
SELECT timed('parallel_btree', 'CREATE INDEX codes_number ON codes (number)') \g /dev/null

-- mih_tables: kinds of tables and of indexes, and commands that rebuild them.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE t (id int, grp int, code hashcode(64));
INSERT INTO t SELECT i, i % 10, CASE WHEN i % 50 > 0 THEN near(code(64, (i % 9)::text), i % 5, i::text) END FROM generate_series(1, 3000) i;

-- A partial index, on an expression, on a column without a length.
CREATE INDEX mih_partial ON t USING mih (code) WHERE grp < 3;
SELECT same(format('SELECT code <~> %L FROM t WHERE grp < 3 ORDER BY code <~> %1$L', code(64, '4')));
SELECT same(format('SELECT id FROM t WHERE grp < 3 AND code <@ hashball(%L, 5)', code(64, '4')), 'index');
SELECT same(format('SELECT code <~> %L FROM t ORDER BY code <~> %1$L', code(64, '4'))) ~ '^NO INDEX' AS "of no use without the condition";
DROP INDEX mih_partial;
CREATE INDEX mih_expression ON t USING mih ((substring(code, 1, 24)));
SELECT bits FROM mih_stats('mih_expression');
SELECT same(format('SELECT substring(code, 1, 24) <~> %L FROM t ORDER BY substring(code, 1, 24) <~> %1$L', code(24, '4')));
INSERT INTO t VALUES (3001, 0, code(64, 'x'));
SELECT same(format('SELECT id FROM t WHERE substring(code, 1, 24) <@ hashball(%L, 3)', code(24, 'x')), 'index');
DROP INDEX mih_expression;
CREATE INDEX mih_cast ON t USING mih ((code::bit(64)::bit(16)::hashcode));
SELECT same('SELECT id FROM t WHERE code::bit(64)::bit(16)::hashcode <@ ''<0f0f,4>''', 'bitmap');
DROP INDEX mih_cast;

-- Built while others write, rebuilt, rebuilt concurrently, clustered by another index.
CREATE INDEX CONCURRENTLY mih_t ON t USING mih (code);
SELECT same(format('SELECT code <~> %L FROM t ORDER BY code <~> %1$L', code(64, '5')));
REINDEX INDEX mih_t;
REINDEX INDEX CONCURRENTLY mih_t;
REINDEX TABLE t;
SELECT same(format('SELECT code <~> %L FROM t ORDER BY code <~> %1$L', code(64, '5')));
CREATE INDEX t_id ON t (id);
CLUSTER t USING t_id;
VACUUM FULL t;
SELECT same(format('SELECT code <~> %L FROM t ORDER BY code <~> %1$L', code(64, '5')));
CLUSTER t USING mih_t;

-- Two indexes on one column.
CREATE INDEX mih_t2 ON t USING mih (code) WITH (chunks = 8);
DROP INDEX mih_t;
SELECT same(format('SELECT code <~> %L FROM t ORDER BY code <~> %1$L', code(64, '5')));

-- A changed length rewrites the table and the index; codes that do not fit stop it.
ALTER TABLE t ALTER code TYPE hashcode(20) USING substring(code, 1, 20);
SELECT bits, rows FROM mih_stats('mih_t2');
SELECT same(format('SELECT code <~> %L FROM t ORDER BY code <~> %1$L', code(20, '5')));
ALTER TABLE t ALTER code TYPE hashcode;
SELECT same(format('SELECT code <~> %L FROM t ORDER BY code <~> %1$L', code(20, '5')));
INSERT INTO t VALUES (0, 0, 'ff');
ALTER TABLE t ALTER code SET STORAGE extended;

-- TRUNCATE empties the index; in a transaction that ends badly it comes back.
BEGIN;
TRUNCATE t;
INSERT INTO t VALUES (1, 1, code(20, 'new'));
SELECT rows FROM mih_stats('mih_t2');
ROLLBACK;
SELECT rows FROM mih_stats('mih_t2');
TRUNCATE t;
SELECT bits, rows, pages FROM mih_stats('mih_t2');
INSERT INTO t VALUES (1, 1, 'abcd');
SELECT bits, rows FROM mih_stats('mih_t2');
DROP TABLE t;

-- Table and index of one transaction; one that is undone.
BEGIN;
CREATE TABLE b (id int, code hashcode(64));
INSERT INTO b SELECT i, code(64, i::text) FROM generate_series(1, 500) i;
CREATE INDEX mih_b ON b USING mih (code);
INSERT INTO b SELECT i, code(64, i::text) FROM generate_series(501, 900) i;
SELECT mih_flush('mih_b');
SELECT same(format('SELECT code <~> %L FROM b ORDER BY code <~> %1$L', code(64, '5')));
COMMIT;
SELECT same(format('SELECT code <~> %L FROM b ORDER BY code <~> %1$L', code(64, '5')));

-- A failed statement leaves entries of rows that never were.
BEGIN;
INSERT INTO b SELECT i, code(64, 'gone' || i) FROM generate_series(1, 300) i;
SELECT mih_flush('mih_b');
INSERT INTO b SELECT i, code(64, 'gone' || i) FROM generate_series(1, 300) i;
ROLLBACK;
SELECT same(format('SELECT code <~> %L FROM b ORDER BY code <~> %1$L', code(64, 'gone7')));
BEGIN;
INSERT INTO b VALUES (1000, code(64, 'kept'));
SAVEPOINT a;
INSERT INTO b SELECT 1001, code(64, 'gone');
ROLLBACK TO a;
COMMIT;
VACUUM b;
SELECT rows FROM mih_stats('mih_b');
SELECT same(format('SELECT id FROM b WHERE code <@ hashball(%L, 0) OR code <@ hashball(%L, 0)', code(64, 'kept'), code(64, 'gone')), 'bitmap');

-- Unlogged and temporary tables, and their flushes.
CREATE UNLOGGED TABLE u (id int, code hashcode(64));
CREATE INDEX mih_u ON u USING mih (code);
INSERT INTO u SELECT i, code(64, i::text) FROM generate_series(1, 2000) i;
SELECT mih_flush('mih_u');
DELETE FROM u WHERE id % 3 = 0;
VACUUM u;
SELECT same(format('SELECT code <~> %L FROM u ORDER BY code <~> %1$L', code(64, '5')));
ALTER TABLE u SET LOGGED;
SELECT same(format('SELECT code <~> %L FROM u ORDER BY code <~> %1$L', code(64, '5')));
CREATE TEMP TABLE tmp (id int, code hashcode(64)) ON COMMIT DELETE ROWS;
CREATE INDEX mih_tmp ON tmp USING mih (code) WITH (pending_pages = 2);
BEGIN;
INSERT INTO tmp SELECT i, code(64, i::text) FROM generate_series(1, 4000) i;
DELETE FROM tmp WHERE id % 3 = 0;
SELECT same(format('SELECT code <~> %L FROM tmp ORDER BY code <~> %1$L', code(64, '5')));
COMMIT;
SELECT bits, rows, pages FROM mih_stats('mih_tmp');

-- Partitions, each with its own index; k-NN over all of them is a merge.
CREATE TABLE p (id int, code hashcode(64)) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (2000);
CREATE INDEX mih_p ON p USING mih (code);
INSERT INTO p SELECT i, code(64, i::text) FROM generate_series(0, 1999) i;
CREATE TABLE p3 PARTITION OF p DEFAULT;
INSERT INTO p VALUES (5000, code(64, 'z'));
ANALYZE p;
SELECT indexrelid::regclass FROM pg_index WHERE indrelid IN ('p1'::regclass, 'p2'::regclass, 'p3'::regclass) ORDER BY 1;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM p ORDER BY code <~> '0123456789abcdef' LIMIT 5;
RESET enable_seqscan;
DO $$ DECLARE i regclass; BEGIN
	FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid IN ('p1'::regclass, 'p2'::regclass, 'p3'::regclass) LOOP
		EXECUTE format('ALTER INDEX %s RENAME TO mih_%s', i, replace(i::text, 'mih_', ''));
	END LOOP;
END $$;
SELECT same(format('SELECT code <~> %L FROM p ORDER BY code <~> %1$L LIMIT 50', code(64, '9')));
SELECT same(format('SELECT id FROM p WHERE hamming_within(code, %L, 20)', code(64, '9')), 'bitmap');
SELECT mih_flush('mih_p');

-- A materialized view.
CREATE MATERIALIZED VIEW m AS SELECT id, code FROM p;
CREATE INDEX mih_m ON m USING mih (code);
REFRESH MATERIALIZED VIEW m;
SELECT same(format('SELECT code <~> %L FROM m ORDER BY code <~> %1$L LIMIT 50', code(64, '9')));
DROP SCHEMA mih_test CASCADE;

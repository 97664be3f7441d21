-- mih_options: options, what is refused, properties, and wrong lengths.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE o (id int, code hashcode(64), loose hashcode);

-- Options.
CREATE INDEX mih_o ON o USING mih (code) WITH (chunks = -1);
CREATE INDEX mih_o ON o USING mih (code) WITH (chunks = 17);
CREATE INDEX mih_o ON o USING mih (code) WITH (chunks = many);
CREATE INDEX mih_o ON o USING mih (code) WITH (pending_pages = 0);
CREATE INDEX mih_o ON o USING mih (code) WITH (pending_pages = 65537);
CREATE INDEX mih_o ON o USING mih (code) WITH (fillfactor = 50);
CREATE INDEX mih_o ON o USING mih (code) WITH (lists = 5);
CREATE INDEX mih_o ON o USING mih (code) WITH (chunks = 4, pending_pages = 3);
SELECT reloptions FROM pg_class WHERE oid = 'mih_o'::regclass;
INSERT INTO o SELECT i, code(64, i::text) FROM generate_series(1, 5000) i;
SELECT segments > 0 AS flushed, chunks, pending < 5 * 580 AS few_pending FROM mih_stats('mih_o');
ALTER INDEX mih_o SET (chunks = 99);
ALTER INDEX mih_o SET (chunks = 2, pending_pages = 100);
SELECT chunks FROM mih_stats('mih_o');
REINDEX INDEX mih_o;
SELECT chunks FROM mih_stats('mih_o');
ALTER INDEX mih_o RESET (chunks);
REINDEX INDEX mih_o;
SELECT chunks FROM mih_stats('mih_o');
SELECT pg_get_indexdef('mih_o'::regclass);
DROP INDEX mih_o;

-- More chunks than bits.
CREATE TABLE narrow (code hashcode(3));
INSERT INTO narrow SELECT code(3, i::text) FROM generate_series(1, 50) i;
CREATE INDEX mih_narrow ON narrow USING mih (code) WITH (chunks = 16);
SELECT bits, chunks FROM mih_stats('mih_narrow');

-- What a mih index cannot be.
CREATE UNIQUE INDEX ON o USING mih (code);
CREATE INDEX ON o USING mih (code, loose);
CREATE INDEX ON o USING mih (code) INCLUDE (id);
CREATE INDEX ON o USING mih (code DESC);
CREATE INDEX ON o USING mih (code NULLS FIRST);
CREATE INDEX ON o USING mih (id);
CREATE INDEX ON o USING mih (code hashcode_ops);
CREATE INDEX ON o USING mih (code hashcode_mih_ops (x = 1));
ALTER TABLE o ADD EXCLUDE USING mih (code WITH =);
ALTER TABLE o ADD EXCLUDE USING mih (code WITH <~>);

-- The operator class is sound, and an unsound one is found out.
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'hashcode_mih_ops';
CREATE OPERATOR CLASS half FOR TYPE hashcode USING mih AS OPERATOR 1 <@ (hashcode, hashball);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'half';
CREATE OPERATOR CLASS odd FOR TYPE hashcode USING mih AS OPERATOR 1 <@ (hashcode, hashball), OPERATOR 2 <~> (hashcode, hashcode) FOR ORDER BY integer_ops, FUNCTION 2 hashcode_cmp(hashcode, hashcode);
CREATE OPERATOR CLASS odd FOR TYPE hashcode USING mih AS OPERATOR 1 = (hashcode, hashcode), OPERATOR 2 <~> (hashcode, hashcode) FOR ORDER BY integer_ops;
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'odd';
CREATE OPERATOR CLASS third FOR TYPE hashcode USING mih AS OPERATOR 4 = (hashcode, hashcode);
DROP OPERATOR FAMILY half USING mih;
DROP OPERATOR FAMILY odd USING mih;

-- Properties.
CREATE INDEX mih_o ON o USING mih (code);
SELECT p, pg_index_column_has_property('mih_o', 1, p) FROM unnest(ARRAY['asc', 'nulls_first', 'orderable', 'distance_orderable', 'returnable', 'search_array', 'search_nulls', 'bogus']) p;
SELECT p, pg_index_has_property('mih_o', p) FROM unnest(ARRAY['clusterable', 'index_scan', 'bitmap_scan', 'backward_scan']) p;
SELECT p, pg_indexam_has_property((SELECT oid FROM pg_am WHERE amname = 'mih'), p) FROM unnest(ARRAY['can_order', 'can_unique', 'can_multi_col', 'can_exclude', 'can_include']) p;

-- What pg_stat_progress_create_index will say.
SELECT n, pg_indexam_progress_phasename((SELECT oid FROM pg_am WHERE amname = 'mih'), n) FROM generate_series(0, 5) n;

-- Lengths.  A column with a length refuses others by itself.
INSERT INTO o (code) VALUES ('ff');
-- Without one, the first code decides.
CREATE INDEX mih_loose ON o USING mih (loose);
SELECT bits FROM mih_stats('mih_loose');
SELECT count(*) FROM (SELECT FROM o ORDER BY loose <~> 'ff') s;
UPDATE o SET loose = 'beef' WHERE id = 1;
SELECT bits FROM mih_stats('mih_loose');
UPDATE o SET loose = 'beef01' WHERE id = 2;
DROP INDEX mih_loose;
UPDATE o SET loose = 'beef01' WHERE id = 2;
CREATE INDEX mih_loose ON o USING mih (loose);
CREATE INDEX CONCURRENTLY mih_loose ON o USING mih (loose);
-- The failed one is there, of no use, and says so.
SELECT indisvalid FROM pg_index WHERE indexrelid = 'mih_loose'::regclass;
SELECT mih_stats('mih_loose');
SELECT mih_flush('mih_loose');
INSERT INTO o (id, loose) VALUES (-1, 'a1');
DROP INDEX mih_loose;
-- One partial index for each length.
CREATE INDEX mih_loose_16 ON o USING mih (loose) WHERE length(loose) = 16;
CREATE INDEX mih_loose_24 ON o USING mih (loose) WHERE length(loose) = 24;
SELECT same('SELECT id FROM o WHERE length(loose) = 16 ORDER BY loose <~> ''beee''');
SELECT same('SELECT id FROM o WHERE length(loose) = 24 ORDER BY loose <~> ''beeeee''');

-- The functions on other things than mih indexes, and by other users.
SELECT mih_stats('o');
SELECT mih_flush('pg_class_oid_index');
SELECT mih_flush(0);
SELECT mih_flush(NULL);
CREATE ROLE mih_test_stranger;
GRANT USAGE ON SCHEMA mih_test TO mih_test_stranger;
SET ROLE mih_test_stranger;
SELECT mih_flush('mih_o');
RESET ROLE;
DROP SCHEMA mih_test CASCADE;
DROP ROLE mih_test_stranger;

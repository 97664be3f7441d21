-- mih_stats: what an index holds and what scans did.
\set ECHO none
\i test/mih.sql
\set ECHO all

CREATE TABLE o (id int, code hashcode(64)) WITH (autovacuum_enabled = off);
CREATE INDEX mih_o ON o USING mih (code) WITH (chunks = 4);
SELECT * FROM mih_parts('mih_o');
SELECT * FROM mih_histogram('mih_o');
INSERT INTO o SELECT i, CASE WHEN i % 50 > 0 THEN code(64, i::text) END FROM generate_series(1, 2000) i;
SELECT kind, ordered_by, chunk, key_bits, pages, entries FROM mih_parts('mih_o');
SELECT mih_flush('mih_o');
SELECT kind, ordered_by, chunk, key_bits, pages, entries, balance > 0 AS balanced FROM mih_parts('mih_o');
SELECT sum(pages) = pg_relation_size('mih_o') / 8192 AS all_pages FROM mih_parts('mih_o');
SELECT count(*), round(sum(share)::numeric, 6) AS total, min(distance_from), max(distance_to) FROM mih_histogram('mih_o');
-- One code on many pages: its keys tell none of them apart.
CREATE TABLE one AS SELECT i AS id, code(64, 'one') AS code FROM generate_series(1, 20000) i;
CREATE INDEX mih_one ON one USING mih (code) WITH (chunks = 2);
SELECT chunk, pages > 10 AS several, balance < 0.1 AS unbalanced, bytes_per_entry < 8 AS small FROM mih_parts('mih_one') WHERE kind = 'table';
CREATE INDEX mih_refs ON one USING mih (code) WITH (layout = references);
SELECT kind, ordered_by FROM mih_parts('mih_refs');
DROP INDEX mih_refs;

-- Scans of this session.
SELECT mih_scans_reset();
SELECT * FROM mih_last_scan();
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM o ORDER BY code <~> code(64, '7') LIMIT 5) s;
SELECT index, scans, list_pages, walk_pages + pass_pages > 0 AS read, passes <= 1 AS once, candidates >= results AS enough, results FROM mih_last_scan();
SELECT count(*) FROM (VALUES ('1'), ('2'), ('3')) q(c), LATERAL (SELECT id FROM o ORDER BY code <~> code(64, q.c) LIMIT 4) s;
SELECT index, scans, results FROM mih_scans();
SELECT count(*) FROM o WHERE code <@ hashball(code(64, '8'), 2);
SELECT radius, results FROM mih_last_scan();
SELECT mih_scans_reset();
SELECT count(*) FROM mih_scans();

-- Whose indexes, and of what kind.
SELECT * FROM mih_parts('o');
CREATE INDEX o_id ON o (id);
SELECT * FROM mih_histogram('o_id');
SELECT * FROM mih_parts(NULL);

-- A parallel worker would not find the pages of a temporary index, which the session has.
SELECT proname, proparallel FROM pg_proc
WHERE probin IS NOT NULL AND proargnames[1] = 'index' AND proname LIKE 'mih\_%' AND proparallel = 's';
DROP SCHEMA mih_test CASCADE;

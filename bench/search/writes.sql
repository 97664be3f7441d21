-- writes.sql: inserts and COPY into tables without an index, with a btree on the code
-- and with a mih index.  Wants codes, and variables rows and file.
CREATE TABLE into_plain (code hashcode);
CREATE TABLE into_btree (code hashcode);
CREATE INDEX ON into_btree (code);
CREATE TABLE into_mih (code hashcode);
CREATE INDEX ON into_mih USING mih (code);
SELECT timed('insert_plain', format('SELECT insert_rows(''plain'', ''into_plain'', %s)', :rows)),
	timed('insert_btree', format('SELECT insert_rows(''btree'', ''into_btree'', %s)', :rows)),
	timed('insert_mih', format('SELECT insert_rows(''mih'', ''into_mih'', %s)', :rows)) \g /dev/null
TRUNCATE into_plain, into_btree, into_mih;
SELECT timed('copy_plain', format('COPY into_plain FROM %L', :'file')),
	timed('copy_btree', format('COPY into_btree FROM %L', :'file')),
	timed('copy_mih', format('COPY into_mih FROM %L', :'file')) \g /dev/null
-- On top of what the COPY brought.
SELECT timed('more_plain', format('SELECT insert_rows(''more_plain'', ''into_plain'', %s)', :rows)),
	timed('more_mih', format('SELECT insert_rows(''more_mih'', ''into_mih'', %s)', :rows)) \g /dev/null
DROP TABLE into_plain, into_btree, into_mih;

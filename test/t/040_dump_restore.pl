# A database with codes and indexes goes through pg_dump and pg_restore, as text
# and as an archive, and gives the same answers on the other side.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Test::More;

my $server = new_server('dump');
$server->safe_psql('postgres', <<'SQL');
CREATE TABLE photo (id int, code hashcode(64), free hashcode, odd hashcode(13));
INSERT INTO photo SELECT i, CASE WHEN i % 10 > 0 THEN lpad(to_hex(i * 7919), 16, '0')::hashcode END,
	lpad(to_hex(i), 4, '0')::hashcode, ('b''' || lpad(((i * 37) % 8192)::bit(13)::text, 13, '0') || '''')::hashcode
	FROM generate_series(1, 2000) i;
CREATE INDEX mih_photo ON photo USING mih (code) WITH (chunks = 3);
CREATE INDEX mih_odd ON photo USING mih (odd) WITH (layout = references, pending_pages = 8) WHERE id < 1000;
ALTER TABLE photo ADD bits bit(16), ADD word bigint, ADD alone hashcode(64);
UPDATE photo SET bits = id::bit(16), word = id::bigint * 104729;
UPDATE photo SET alone = hashcode(((id::bigint << 50) | (id::bigint << 40) | id)) WHERE id % 100 = 0;
CREATE INDEX mih_bits ON photo USING mih (bits);
CREATE INDEX mih_word ON photo USING mih (word);
ALTER TABLE photo ADD CONSTRAINT mih_alone EXCLUDE USING mih (hashball(alone, 1) WITH <@>) WHERE (id <> 0);
SQL
my $path = "$ENV{TESTDIR}/dump";
my $before = contents('postgres');

$server->command_ok([ 'pg_dump', '-f', "$path.sql", $server->connstr('postgres') ], 'dumped as text');
$server->safe_psql('postgres', 'CREATE DATABASE from_text');
$server->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$path.sql", $server->connstr('from_text') ],
	'restored from text');
is(contents('from_text'), $before, 'text: the same answers and definitions');

$server->command_ok([ 'pg_dump', '-Fc', '-f', "$path.custom", $server->connstr('postgres') ], 'dumped as an archive');
$server->safe_psql('postgres', 'CREATE DATABASE from_archive');
$server->command_ok([ 'pg_restore', '-e', '-d', $server->connstr('from_archive'), "$path.custom" ],
	'restored from an archive');
is(contents('from_archive'), $before, 'archive: the same answers and definitions');

# Binary COPY is what drivers and copies between servers use.
$server->safe_psql('from_text', "COPY photo TO '$path.bin' (FORMAT binary)");
$server->safe_psql('from_text', "TRUNCATE photo");
$server->safe_psql('from_text', "COPY photo FROM '$path.bin' (FORMAT binary)");
is(contents('from_text'), $before, 'binary COPY: the same answers');
$server->stop;
done_testing();

sub contents
{
	my ($database) = @_;
	return $server->safe_psql($database, <<'SQL');
SET enable_seqscan = off;
SELECT md5(string_agg(photo::text, ',' ORDER BY id)) FROM photo;
SELECT string_agg(pg_get_indexdef(indexrelid), ';' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = 'photo'::regclass;
SELECT id, code <~> '00000000000a11ce' FROM photo WHERE code <@ hashball('00000000000a11ce', 9) ORDER BY 2, 1;
SELECT code <~> '00000000000a11ce' FROM photo ORDER BY 1 LIMIT 50;
SELECT mih_check('mih_photo', true) > 0, mih_check('mih_odd', true) > 0, mih_check('mih_bits', true) > 0, mih_check('mih_word', true) > 0, mih_check('mih_alone', true) > 0;
SELECT bits <~> 4660::bit(16), word <~> 4660 FROM photo WHERE hamming_within(bits, 4660::bit(16), 3) ORDER BY 1, 2;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'mih_alone';
INSERT INTO photo (id, alone) SELECT -id, alone FROM photo WHERE alone IS NOT NULL ON CONFLICT DO NOTHING;
INSERT INTO photo (id, alone) SELECT 1000000, alone FROM photo WHERE alone IS NOT NULL ON CONFLICT DO NOTHING;
SELECT count(*) FROM photo;
DELETE FROM photo WHERE id < 0;
SQL
}

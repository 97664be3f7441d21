# A cluster goes through pg_upgrade, to another of the same release: codes, indexes, models
# and triggers are there, and answer as before.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $old = new_server('old', conf => "shared_preload_libraries = 'deephash'\n");
my $red = image_sql('red');
load_models($old);
$old->safe_psql('postgres', <<SQL);
CREATE TABLE photo (id int PRIMARY KEY, code hashcode(64), bits bit(16));
INSERT INTO photo SELECT i, lpad(to_hex(i * 7919), 16, '0')::hashcode, i::bit(16) FROM generate_series(1, 2000) i;
CREATE INDEX mih_photo ON photo USING mih (code);
CREATE INDEX mih_bits ON photo USING mih (bits) WITH (layout = packed);
DELETE FROM photo WHERE id % 5 = 0;
VACUUM photo;
INSERT INTO photo SELECT i, lpad(to_hex(i * 7919), 16, '0')::hashcode, i::bit(16) FROM generate_series(2001, 2100) i;
SELECT deephash_default_model('m64');
CREATE ROLE curator;
GRANT EXECUTE ON FUNCTION deephash_drop_model(text) TO curator;
CREATE TABLE album (id int, data bytea, code hashcode(64));
CREATE TRIGGER made BEFORE INSERT ON album FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('data', 'code');
INSERT INTO album VALUES (1, $red);
SQL
my $before = contents($old);
$old->stop;

my $new = new_server('new', conf => "shared_preload_libraries = 'deephash'\n", start => 0);
my ($bin) = grep { -x "$_/pg_upgrade" } split /:/, $ENV{PATH};
SKIP:
{
	skip 'there is no pg_upgrade here', 7 unless $bin;
	chdir $ENV{TESTDIR} or die "$ENV{TESTDIR}: $!";
	my @upgrade = ('pg_upgrade', '-U', 'postgres', '-b', $bin, '-B', $bin, '-d', $old->data_dir, '-D', $new->data_dir,
		'-p', $old->port, '-P', $new->port, '-s', $new->host);
	$new->command_ok([ @upgrade, '--check' ], 'pg_upgrade --check finds nothing wrong');
	$new->command_ok(\@upgrade, 'pg_upgrade');
	$new->start;
	is(contents($new), $before, 'the same answers, models, privileges');
	is($new->safe_psql('postgres', "SELECT mih_check('mih_photo', true), mih_check('mih_bits', true)"), '1700|1700', 'whole indexes');
	$new->safe_psql('postgres', "INSERT INTO album VALUES (2, $red)");
	is($new->safe_psql('postgres', 'SELECT count(DISTINCT code), count(code) FROM album'), '1|2', 'the trigger makes the same code');
	$new->safe_psql('postgres', 'INSERT INTO photo SELECT id + 10000, code, bits FROM photo; VACUUM photo');
	is($new->safe_psql('postgres', "SELECT mih_check('mih_photo', true), mih_check('mih_bits', true)"), '3400|3400', 'indexes are written to');
	$new->safe_psql('postgres', "SELECT deephash_drop_model('m16')");
	is($new->safe_psql('postgres', 'SELECT name, is_default FROM deephash_models'), 'm64|t', 'models are managed');
	$new->stop;
}
done_testing();

sub contents
{
	my ($server) = @_;
	return $server->safe_psql('postgres', <<SQL);
SET enable_seqscan = off;
SELECT md5(string_agg(photo::text, ',' ORDER BY id)) FROM photo;
SELECT id, code <~> '00000000000a11ce' FROM photo WHERE code <\@ hashball('00000000000a11ce', 9) ORDER BY 2, 1;
SELECT code <~> '00000000000a11ce' FROM photo ORDER BY 1 LIMIT 50;
SELECT id FROM photo WHERE hamming_within(bits, 4660::bit(16), 3) ORDER BY 1;
SELECT name, sha256, bits, is_default, architecture FROM deephash_models ORDER BY name;
SELECT has_function_privilege('curator', 'deephash_drop_model(text)', 'EXECUTE');
SELECT id, code, code = deephash_encode(data, 'm64'), deephash_encode(data, 'm16') FROM album ORDER BY id;
SQL
}

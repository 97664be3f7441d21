# The engine replaced and ended while sessions are busy: by settings, by SIGTERM, by
# SIGKILL; how often one that does not start is tried again; and a bulk encoding beside
# those who write.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\nmax_connections = 40\ndeephash.encode_timeout = 0\n");
load_models($server);
$server->safe_psql('postgres', "CREATE TABLE picture (name text PRIMARY KEY, data bytea, code hashcode(64));
	INSERT INTO picture VALUES ('red', ${\ image_sql('red')}), ('green', ${\ image_sql('green')});
	UPDATE picture SET code = deephash_encode(data, 'm64')");

# How many of 2 x n images get their right codes.
sub right
{
	my ($n) = @_;
	return "SELECT count(*) FROM (SELECT code, deephash_encode_array(array_fill(data, ARRAY[$n]), 'm64') AS codes FROM picture) p, unnest(codes) c WHERE c = code";
}

# So many sessions that are at work, each on 2 x n images.
sub busy
{
	my ($sessions, $n, $settings) = @_;
	my $pid = engine_pid($server);
	kill 'STOP', $pid;
	my @queries = map { start_query($server, ($settings || '') . right($n)) } 1 .. $sessions;
	ok(wait_until_waiting($server, $sessions), "$sessions sessions are busy");
	kill 'CONT', $pid;
	return @queries;
}

sub all_right
{
	my ($n, $name, @queries) = @_;
	my @answers = map { [ finish_query($_) ] } @queries;
	is(join(' ', map { $_->[0] } @answers), join(' ', (2 * $n) x @queries), $name);
	is(join('', map { $_->[1] } @answers), '', '... without a word');
}

sub wait_for_another
{
	my ($pid, $name) = @_;
	ok(wait_until(sub { !-e "/proc/$pid" }, 120), $name);
	my $now = engine_pid($server);
	isnt($now, $pid, '... another one serves');
	return $now;
}

# -------------------------------------------------------------------- in good order
my $pid = engine_pid($server);
my @queries = busy(6, 5000);
for my $size (5, 6)
{
	$server->append_conf('postgresql.conf', "deephash.batch_size = $size");
	$server->reload;
	$pid = wait_for_another($pid, "batch_size = $size: the engine ends");
}
kill 'TERM', $pid;
$pid = wait_for_another($pid, 'SIGTERM: the engine ends');
all_right(5000, 'the sessions get all codes', @queries);
like(server_log($server), qr/deephash-encoder \(PID \d+\) is replaced: its settings changed/, 'the log tells of new settings');
like(server_log($server), qr/deephash-encoder \(PID \d+\) ended: .*exit code 0/, '... and of an end in good order');

# ------------------------------------------------------------------------- by force
kill 'STOP', $pid;
@queries = map { start_query($server, 'SET deephash.encode_retry = on; ' . right(100)) } 1 .. 4;
push my @plain, map { start_query($server, right(100)) } 1 .. 4;
ok(wait_until_waiting($server, 8), 'eight sessions wait');
kill 'KILL', $pid;
all_right(100, 'SIGKILL: with deephash.encode_retry they get their codes from the next engine', @queries);
is(scalar(grep { (finish_query($_))[1] =~ /deephash-encoder died while it worked on this request/ } @plain), 4, '... and without it an error');
is($server->safe_psql('postgres', right(10)), '20', 'then all is well');

# --------------------------------------------------------- beside those who write
$pid = engine_pid($server);
$server->safe_psql('postgres', "CREATE TABLE album (id int PRIMARY KEY, name text, data bytea, code hashcode(64));
	INSERT INTO album SELECT i, name, data FROM generate_series(1, 40) i, picture WHERE name = 'red'");
kill 'STOP', $pid;
my $call = start_query($server, "CALL deephash_encode_table('album', 'data', 'code', 'm64', batch => 10)");
ok(wait_until_waiting($server), 'a bulk encoding waits for its first batch');
$server->safe_psql('postgres', "SET lock_timeout = '60s';
	UPDATE album SET (name, data) = (SELECT name, data FROM picture WHERE name = 'green') WHERE id IN (3, 25);
	UPDATE album SET data = NULL WHERE id = 4;
	UPDATE album SET data = 'no image' WHERE id = 33;
	DELETE FROM album WHERE id IN (5, 35);
	INSERT INTO album SELECT 100 + i, name, data FROM picture, generate_series(1, 3) i WHERE name = 'green'");
pass('others change, delete and insert rows meanwhile');
$server->safe_psql('postgres', 'VACUUM album');
kill 'CONT', $pid;
my (undef, $notice) = finish_query($call);
like($notice, qr/NOTICE:  public.album: 39 codes made, 1 images? refused/, 'it tells what it did');
is($server->safe_psql('postgres', 'SELECT count(*) FROM album JOIN picture USING (name) WHERE album.code = picture.code'), '39', 'all images have their codes, old and new ones');
is($server->safe_psql('postgres', 'SELECT string_agg(id::text, \' \' ORDER BY id) FROM album WHERE code IS NULL'), '4 33', '... and what is none has none');

# ------------------------------------------------------- one that does not start
my $from = -s $server->logfile;
$server->append_conf('postgresql.conf', "deephash.encoder_program = '/bin/false'");
$server->reload;
my @pauses;
ok(wait_until(sub { @pauses = server_log($server, $from) =~ /DETAIL:  It is started again in (\d+) ms; sessions go on/g; @pauses >= 4 }, 120), 'a program that does not start is tried again');
is("@pauses[0 .. 3]", '250 500 1000 2000', '... with growing pauses');
like(server_log($server, $from), qr/deephash-encoder \(PID \d+\) ended: .*exit code 1/, '... and the log says why');
ok(wait_until(sub { ($server->psql('postgres', 'SELECT state FROM deephash_service'))[1] eq 'failed' }, 120), '... and the view');
$server->append_conf('postgresql.conf', "deephash.encoder_program = ''");
$server->reload;
ok(wait_until(sub { ($server->psql('postgres', 'SELECT state FROM deephash_service'))[1] eq 'running' }, 120), 'one that does is started at once');
$server->stop;
unlike(server_log($server), qr/PANIC|TRAP|terminating any other active server processes/, 'the server never restarted');
done_testing();

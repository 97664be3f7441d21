# The service under load with an engine that was built with AddressSanitizer and UBSan:
# in its sandbox, and then out of it, where leaks can be looked for.  Tiny and huge
# images, cancelled and terminated sessions, models replaced, the server restarted and
# the extension dropped while all are busy.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;

my $program = top() . '/build/asan/bin/deephash-encoder';
if (!-x $program)
{
	plan skip_all => "there is no $program (make check-build makes it)";
}
# Looking for leaks takes ptrace, which the sandbox forbids.
$ENV{ASAN_OPTIONS} = 'detect_leaks=0:allocator_may_return_null=1';
my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\nmax_connections = 60\n"
	  . "deephash.encoder_program = '$program'\ndeephash.engine_timeout = '10min'\ndeephash.encode_timeout = 0\n");
load_models($server);

# The codes by the program that trains, without any server.
my @name = qw(red green large dot line huge);
my %code;
for my $name (@name)
{
	my $line = `'${\ top()}/build/bin/deephash-train' encode --model '${\ fixture('tiny64.safetensors')}' '${\ fixture("$name.jpg")}'`;
	($code{$name}) = $line =~ /\t([0-9a-f]{16})$/m or die "no code of $name";
}
$server->safe_psql('postgres', 'CREATE TABLE picture (name text PRIMARY KEY, data bytea)');
$server->safe_psql('postgres', "INSERT INTO picture VALUES ('$_', ${\ image_sql($_)})") for @name;
$server->safe_psql('postgres', "CREATE TABLE code (name text PRIMARY KEY, code hashcode(64));
	INSERT INTO code VALUES " . join(', ', map { "('$_', '$code{$_}')" } @name));
# One that never gets its images from a cache.
$server->safe_psql('postgres', "CREATE TABLE many AS SELECT name, data FROM picture, generate_series(1, 12) WHERE name IN ('red', 'green')");

like($server->safe_psql('postgres', 'SELECT sandbox FROM deephash_service'), qr/^system calls/, 'the sanitized engine works in its sandbox');
my $pid = engine_pid($server);

# ----------------------------------------------------- tiny, huge and broken images
is($server->safe_psql('postgres', "SELECT string_agg(name, ' ' ORDER BY name) FROM picture JOIN code USING (name) WHERE deephash_encode(data, 'm64') = code"),
	join(' ', sort @name), 'one pixel, a line of 30,000, 92 million: the codes of deephash-train');
is($server->safe_psql('postgres', "SELECT count(code), count(error) FROM deephash_encode_set((SELECT array_agg(substr(data, 1, (octet_length(data) * part / 20)::int))
	FROM picture, generate_series(0, 19) part WHERE name <> 'huge'), 'm64')"), '0|100', 'files that break off anywhere are refused');

# ------------------------------------------------------------------ many sessions
sub right
{
	my ($times) = @_;
	return "SELECT count(*) FROM (SELECT name, deephash_encode_array(array_agg(data), 'm64') AS codes FROM many, generate_series(1, $times) GROUP BY name) p
		JOIN code USING (name), unnest(codes) c WHERE c = code";
}
my @queries = map { start_query($server, right(1)) } 1 .. 32;
is(join(' ', map { join '', finish_query($_) } @queries), join(' ', (24) x 32), '32 sessions get their codes');

kill 'STOP', $pid;
@queries = map { start_query($server, right(2)) } 1 .. 12;
ok(wait_until_waiting($server, 12), 'twelve sessions wait');
for my $how (qw(pg_cancel_backend pg_terminate_backend))
{
	$server->safe_psql('postgres', "SELECT $how(pid) FROM (SELECT pid FROM pg_stat_activity
		WHERE wait_event_type = 'Extension' AND query LIKE '%deephash_encode_array%' ORDER BY pid LIMIT 4) p");
	my $left = $how eq 'pg_cancel_backend' ? 8 : 4;
	ok(wait_until(sub { $server->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity
		WHERE wait_event_type = 'Extension' AND query LIKE '%deephash_encode_array%' AND state = 'active'") == $left }, 120), "$how: four leave");
}
kill 'CONT', $pid;
my @answers = map { [ finish_query($_) ] } @queries;
is(scalar(grep { $_->[0] eq '48' } @answers), 4, 'the four that stay get their codes');

my $loop = "DO \$\$ DECLARE c hashcode; BEGIN FOR i IN 1 .. 20 LOOP
	c := deephash_encode((SELECT data FROM picture WHERE name = 'red'), 'm16'); END LOOP; END \$\$";
@queries = map { start_query($server, $loop) } 1 .. 4;
for my $file (qw(other16 tiny16) x 2)
{
	$server->safe_psql('postgres', "BEGIN; SELECT deephash_drop_model('m16'); SELECT deephash_load_model('m16', '" . fixture("$file.safetensors") . "'); COMMIT");
}
is(join('', map { join '', finish_query($_) } @queries), '', 'a model is replaced while sessions use it');
is(engine_pid($server), $pid, 'all by the same engine');

# --------------------------------------------------- the server restarted while busy
kill 'STOP', $pid;
@queries = map { start_query($server, right(500)) } 1 .. 6;
ok(wait_until_waiting($server, 6), 'six sessions are busy');
kill 'CONT', $pid;
$ENV{ASAN_OPTIONS} = 'detect_leaks=1:allocator_may_return_null=1';
$server->append_conf('postgresql.conf', 'deephash.sandbox = off');
$server->restart;
is(scalar(grep { (finish_query($_))[1] =~ /terminating connection due to administrator command/ } @queries), 6, 'restarted while busy: each session hears of it');
ok(wait_until(sub { !-e "/proc/$pid" }, 120), '... the engine goes');
is($server->safe_psql('postgres', right(1)), '24', '... and another one serves');
$pid = engine_pid($server);
is(scalar engines($server), 1, '... one only');

# ------------------------------------------------------------------ dropped while busy
@queries = map { start_query($server, right(2)) } 1 .. 8;
$server->safe_psql('postgres', "CREATE TABLE album AS SELECT data, NULL::hashcode(64) AS code FROM many");
push @queries, start_query($server, "CALL deephash_encode_table('album', 'data', 'code', 'm64', batch => 3)");
# It may be found in a deadlock with one of them.
ok(wait_until(sub { ($server->psql('postgres', 'DROP EXTENSION deephash CASCADE'))[0] == 0 }, 120), 'dropped while busy');
@answers = map { [ finish_query($_) ] } @queries;
is(scalar(grep { $_->[1] =~ /server closed the connection/ } @answers), 0, '... no session is lost');
is(join(' ', engines($server)), $pid, '... nor the engine');
$server->safe_psql('postgres', 'CREATE EXTENSION deephash');
load_models($server);
is($server->safe_psql('postgres', "SELECT count(*) FROM many WHERE deephash_encode(data, 'm64') IS NOT NULL"), '24', '... and created again');

# ------------------------------------------------------------------------- at the end
# Replaced in good order, it has the time to look for leaks.
$server->append_conf('postgresql.conf', 'deephash.batch_size = 9');
$server->reload;
ok(wait_until(sub { !-e "/proc/$pid" }, 120), 'replaced, the engine ends');
is($server->safe_psql('postgres', 'SELECT deephash_ping()'), 't', '... and its successor serves');
$server->stop;
my $log = server_log($server);
unlike($log, qr/Sanitizer|runtime error:/, 'the sanitizers found nothing') or diag join "\n", $log =~ /^.*(?:Sanitizer|runtime error:).*$/mg;
unlike($log, qr/PANIC|TRAP|terminating any other active server processes|deephash-encoder \(PID \d+\) ended/, 'and nothing died');
done_testing();


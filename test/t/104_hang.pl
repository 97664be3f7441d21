# An engine that hangs: stopped, it gives no answer, and the supervisor replaces it;
# sessions that wait hear of it or are served by its successor.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use EncoderTest;
use Test::More;
use Time::HiRes qw(time);

my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\ndeephash.engine_timeout = '2s'\n");
my $red = image_sql('red');
load_models($server);
my $code = $server->safe_psql('postgres', "SELECT deephash_encode($red, 'm64')");

# ------------------------------------------------------- one that answers is left alone
my $pid = engine_pid($server);
select undef, undef, undef, 4;
is(engine_pid($server), $pid, 'an engine that answers stays');
ok(wait_until(sub { $server->safe_psql('postgres', 'SELECT clients FROM deephash_service') == 1 }), 'the supervisor keeps no connection');

# --------------------------------------------------------------------- stopped
my $session = start_session($server);
is(talk($session, "SELECT deephash_encode($red, 'm64');"), $code, 'a session is connected');
kill 'STOP', $pid;
my $waiting = start_query($server, "SELECT deephash_encode($red, 'm64')");
my $retrying = start_query($server, "SET deephash.encode_retry = on; SELECT deephash_encode($red, 'm64')");
my ($out, $err) = finish_query($waiting);
like($err, qr/ERROR:  deephash-encoder died while it worked on this request.*HINT:  The server log says why/s, 'the waiting session hears of it');
($out, $err) = finish_query($retrying);
is($out, $code, 'with deephash.encode_retry it is served by the next engine');
isnt(engine_pid($server), $pid, 'it was replaced');
ok(wait_until(sub { !-e "/proc/$pid" }), 'and is gone');
is(scalar engines($server), 1, 'there is one engine');
like(server_log($server), qr/deephash-encoder \(PID $pid\) has given no answer for \d+ ms and is killed.*deephash.engine_timeout is 2000 ms/s, 'the log says so');
like(server_log($server), qr/deephash-encoder \(PID $pid\) ended: it has given no answer for \d+ ms/, '... and why it ended');
is(talk($session, "SELECT deephash_encode($red, 'm64');"), $code, 'the idle session does not notice');
end_session($session);

# A short stop is no hang.  (Once more where this program was held up itself.)
for my $try (1 .. 10)
{
	my $longest = 0;
	$pid = engine_pid($server);
	for (1 .. 5)
	{
		my $begin = time;
		kill 'STOP', $pid;
		select undef, undef, undef, 0.5;
		kill 'CONT', $pid;
		$longest = time - $begin if time - $begin > $longest;
		select undef, undef, undef, 0.3;
	}
	last if $longest < 1;
}
is(engine_pid($server), $pid, 'short stops do not add up');

# ------------------------------------------------------------------ switched off
$server->append_conf('postgresql.conf', "deephash.engine_timeout = 0");
$server->reload;
ok(wait_until(sub { my $now = eval { engine_pid($server) }; $now && $now != $pid }), 'another setting, another engine');
$pid = engine_pid($server);
kill 'STOP', $pid;
select undef, undef, undef, 4;
kill 'CONT', $pid;
is(engine_pid($server), $pid, 'switched off: a stopped engine stays');
unlike(server_log($server), qr/PANIC|TRAP|terminating any other active server processes/, 'the server never restarted');

# ------------------------------------------------------- a program that never starts
$server->append_conf('postgresql.conf', "deephash.encoder_program = '/bin/false'");
$server->reload;
ok(wait_until(sub { $server->safe_psql('postgres', 'SELECT state FROM deephash_supervisor()') eq 'failed' }), 'the supervisor tells of failure');
# It is tried again and again: between two tries.
my $told;
wait_until(sub { ($told = $server->safe_psql('postgres', 'SELECT state, reason, pid IS NULL FROM deephash_service')) =~ /^failed/ });
like($told, qr/^failed\|.*exit code 1\|t$/, '... the view gives the reason instead of an error');
my (undef, undef, $error) = $server->psql('postgres', 'SELECT deephash_stats_reset()');
like($error, qr/deephash-encoder could not be started/, 'a reset is an error');

# ------------------------------------------------------- one that talks without end
my $endless = program('endless', 'exec yes "L I have much to say"');
my $from = -s $server->logfile;
use_program($endless, "'2s'");
ok(wait_until(sub { $server->safe_psql('postgres', 'SELECT state FROM deephash_supervisor()') eq 'starting' && runs($endless) }), 'a program talks without end');
ok(wait_until(sub { server_log($server, $from) =~ /deephash-encoder \(PID \d+\): \d+ more lines of it are left out/ }), '... the log says that lines are left out');
cmp_ok(scalar(() = server_log($server, $from) =~ /I have much to say/g), '<', 2000, '... and has few of them');

# ------------------------------------------------------------- one that hangs at once
my $silent = program('silent', 'exec sleep 1000');
use_program($silent, "'2s'");
ok(wait_until(sub { runs($silent) }), 'the supervisor heeds a reload all the same; the next program does nothing');
ok(!runs($endless), '... the one before is gone');
ok(wait_until(sub { server_log($server, $from) =~ /deephash-encoder \(PID (\d+)\) did not begin to serve for \d+ ms and is killed.*\(PID \1\) ended: it did not begin to serve for \d+ ms/s }), '... and is killed in time');
like($server->safe_psql('postgres', 'SELECT reason FROM deephash_supervisor()'), qr/^(it did not begin to serve for \d+ ms)?$/, '... the view gives the reason, or it is tried again');
use_program($endless, 0);
ok(wait_until(sub { runs($endless) }), 'a program talks again');
$server->stop;
ok(wait_until(sub { !runs($endless) }), '... and neither holds up the end of the server nor stays');
done_testing();

# A program that leaves its number behind and does what the line says.
sub program
{
	my ($name, $line) = @_;
	my $path = "$ENV{TESTDIR}/$name";
	open my $f, '>', $path or die "$path: $!";
	print $f "#!/bin/sh\necho \$\$ > '$path.pid'\n$line\n";
	close $f;
	chmod 0755, $path;
	return $path;
}

sub use_program
{
	my ($path, $timeout) = @_;
	$server->append_conf('postgresql.conf', "deephash.encoder_program = '$path'\ndeephash.engine_timeout = $timeout\n");
	$server->reload;
}

# Does a process run that began as such a program?
sub runs
{
	my ($path) = @_;
	open my $f, '<', "$path.pid" or return 0;
	my $pid = <$f>;
	return defined $pid && $pid > 0 && kill 0, $pid;
}

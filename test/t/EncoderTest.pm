# EncoderTest.pm: what the tests of the encoder share.
package EncoderTest;

use strict;
use warnings;
use Deephash;
use IPC::Run ();
use Exporter 'import';

our @EXPORT = qw(fixture load_models image_sql engine_pid kill_engine engines read_proc start_query finish_query
  wait_until_waiting start_session talk end_session);

# The path of a file that `make fixtures` made.
sub fixture
{
	return top() . "/build/fixtures/$_[0]";
}

# An expression for the bytes of an image.
sub image_sql
{
	return "pg_read_binary_file('" . fixture("$_[0].jpg") . "')";
}

sub load_models
{
	my ($server, $database) = @_;
	$server->safe_psql($database || 'postgres',
			"SELECT deephash_load_model('m16', '" . fixture('tiny16.safetensors') . "');"
		  . "SELECT deephash_load_model('m64', '" . fixture('tiny64.safetensors') . "');");
}

# The engine's process number, once it serves.
sub engine_pid
{
	my ($server) = @_;
	return $server->safe_psql('postgres', 'SELECT pid FROM deephash_service');
}

# Kill the engine and wait until it is gone: a call that reaches it while it dies
# is told so, as it should be.
sub kill_engine
{
	my ($server) = @_;
	my $pid = engine_pid($server);
	kill 'KILL', $pid;
	wait_until(sub { !-e "/proc/$pid" }) or die "engine $pid outlives SIGKILL";
}

# All engines of a server.  They keep their own /proc/PID/cwd to themselves, so
# they are known by their parent's, the supervisor's.
sub engines
{
	my ($server) = @_;
	return grep { read_proc("$_/cmdline") =~ m{^[^\0]*/deephash-encoder\0}
		  && read_proc("$_/status") =~ /^PPid:\s+(\d+)/m
		  && (readlink("/proc/$1/cwd") // '') eq $server->data_dir } map { m{(\d+)} } glob '/proc/[0-9]*';
}

sub read_proc
{
	open my $f, '<', "/proc/$_[0]" or return '';
	local $/;
	return scalar <$f> // '';
}

# A psql with one command, in the background.
sub start_query
{
	my ($server, $sql) = @_;
	my $query = { out => '', err => '' };
	$query->{handle} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $server->connstr('postgres'), '-c', $sql ],
		'<', \undef, '>', \$query->{out}, '2>', \$query->{err}, IPC::Run::timeout(600));
	return $query;
}

# (output, error output) of a query started so.
sub finish_query
{
	my ($query) = @_;
	IPC::Run::finish($query->{handle});
	chomp($query->{out}, $query->{err});
	return ($query->{out}, $query->{err});
}

# Wait until $n sessions wait for the encoder.
sub wait_until_waiting
{
	my ($server, $n) = @_;
	return wait_until(sub {
		$server->safe_psql('postgres',
			"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE '%deephash_en%' AND pid <> pg_backend_pid()") >= ($n || 1);
	});
}

# A psql that stays, for transactions that span other events.
sub start_session
{
	my ($server) = @_;
	my $session = { in => '', out => '', n => 0 };
	$session->{handle} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $server->connstr('postgres') ],
		'<', \$session->{in}, '>', \$session->{out}, '2>&1', IPC::Run::timeout(600));
	return $session;
}

# Send commands, wait for their answers.
sub talk
{
	my ($session, $sql) = @_;
	my $mark = 'answered ' . ++$session->{n};
	$session->{out} = '';
	$session->{in} .= "$sql\n\\echo $mark\n";
	IPC::Run::pump($session->{handle}) until $session->{out} =~ /^\Q$mark\E$/m;
	(my $answer = $session->{out}) =~ s/^\Q$mark\E\n//m;
	chomp $answer;
	return $answer;
}

sub end_session
{
	my ($session) = @_;
	$session->{in} .= "\\q\n";
	IPC::Run::finish($session->{handle});
}

1;

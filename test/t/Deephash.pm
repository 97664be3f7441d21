# Deephash.pm: what every TAP test of the project begins with.
#
#   use FindBin; use lib $FindBin::RealBin;
#   use Deephash;                    # first: it sets up PATH and leaves root
#   use Test::More;
#   my $server = new_server('main', conf => "deephash.x = 1\n");
#   is($server->safe_psql('postgres', 'SELECT 1'), 1, 'answers');
#   done_testing();
#
# It puts the private PostgreSQL of build/tree first in PATH, takes the server's
# own PostgreSQL::Test::Cluster (PostgresNode before version 15), and, because
# PostgreSQL refuses root, hands a test started by root to user postgres.  So
# plain `prove test/t/NNN_topic.pl` works for everybody after `make tree`.
package Deephash;

use strict;
use warnings;
use Config;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Path qw(make_path remove_tree);
use Exporter 'import';

our @EXPORT = qw(new_server new_standby top data_file server_log kill_server wait_until seed);

my ($top, $base);

sub bail
{
	print "Bail out!  $_[0]\n";
	exit 255;
}

BEGIN
{
	$top = abs_path(dirname(abs_path(__FILE__)) . '/../..');
	# By its full name: the private tree, soon first in PATH, has one too.
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	($pg_config) = grep { -x && !m{/build/tree/} } map { "$_/$pg_config" } split /:/, $ENV{PATH}
	  unless $pg_config =~ m{/};
	$ENV{PG_CONFIG} = $pg_config or bail('there is no pg_config in PATH');
	chomp(my $bindir = `$pg_config --bindir`);
	chomp(my $pkglibdir = `$pg_config --pkglibdir`);
	my $bin = "$top/build/tree$bindir";

	my $scratch = "$top/build/tap/" . ($ENV{DEEPHASH_SCRATCH} || basename($0, '.pl'));
	remove_tree($scratch);    # what a failed run left
	if ($> == 0)
	{
		my (undef, undef, $uid, $gid) = getpwnam('postgres')
		  or bail('root cannot run a server and there is no user postgres; run as an ordinary user');
		make_path($scratch);
		chown $uid, $gid, "$top/build/tap", $scratch;
		$ENV{HOME} = $scratch;
		my $script = abs_path($0);
		exec('setpriv', "--reuid=$uid", "--regid=$gid", '--init-groups', '--',
			$^X, (map { "-I$_" } @INC), $script, @ARGV)
		  or bail("cannot run setpriv: $!");
	}
	bail("user " . getpwuid($>) . " cannot run $bin/postgres (`make tree` makes it; "
		  . "a checkout below a closed folder works through `make tap`)")
	  unless -x "$bin/postgres";
	make_path($scratch);
	# Each name is the one that some version of the server's modules reads.
	$ENV{TESTDIR} = $ENV{TESTDATADIR} = $ENV{TESTLOGDIR} = $scratch;
	$ENV{PG_TEST_PORT_DIR} = "$top/build/tap";
	$ENV{PG_REGRESS} = "$pkglibdir/pgxs/src/test/regress/pg_regress";
	$ENV{PATH} = "$bin:$ENV{PATH}";
	$ENV{PGCTLTIMEOUT} ||= 300;
	$ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 600;
	my $perl = "$pkglibdir/pgxs/src/test/perl";
	unshift @INC, $perl;
	if (-e "$perl/PostgreSQL/Test/Cluster.pm")
	{
		require PostgreSQL::Test::Utils;
		require PostgreSQL::Test::Cluster;
		$base = 'PostgreSQL::Test::Cluster';
	}
	elsif (-e "$perl/PostgresNode.pm")
	{
		require TestLib;
		require PostgresNode;
		$base = 'PostgresNode';
	}
	else
	{
		print "1..0 # SKIP the server's Perl test modules are not in $perl\n";
		exit 0;
	}
	# The superuser is postgres whoever runs the test; those modules clear it.
	$ENV{PGUSER} = 'postgres';
}

# The top of the project.
sub top
{
	return $top;
}

# The path of a file of the project's data folder (DEEPHASH_DATA, else
# ../shared/data), or undef when it cannot be read.
sub data_file
{
	my $path = ($ENV{DEEPHASH_DATA} || "$top/../shared/data") . "/$_[0]";
	return -r $path ? abs_path($path) : undef;
}

sub node
{
	my ($name) = @_;
	return $base eq 'PostgresNode' ? PostgresNode->get_new_node($name) : $base->new($name);
}

# A started server with the extension in database postgres.
#   conf       further lines for postgresql.conf
#   streaming  1: a standby may follow it
#   extension  0: leave out CREATE EXTENSION
#   start      0: initialise only
#   initdb     further options for initdb
sub new_server
{
	my ($name, %arg) = @_;
	my $server = node($name);
	$server->init(
		allows_streaming => $arg{streaming} || 0,
		extra => [ '-U', 'postgres', '--no-sync', '-E', 'UTF8', '--locale=C', @{ $arg{initdb} || [] } ]);
	$server->append_conf('postgresql.conf', $arg{conf}) if defined $arg{conf};
	return $server if defined $arg{start} && !$arg{start};
	$server->start;
	$server->safe_psql('postgres', 'CREATE EXTENSION deephash')
	  unless defined $arg{extension} && !$arg{extension};
	return $server;
}

# A streaming standby of $primary, started.
sub new_standby
{
	my ($primary, $name, %arg) = @_;
	$primary->backup("for_$name");
	my $standby = node($name);
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1);
	$standby->append_conf('postgresql.conf', $arg{conf}) if defined $arg{conf};
	$standby->start;
	return $standby;
}

# The server's log since byte $from (default: all of it).
sub server_log
{
	my ($server, $from) = @_;
	open my $f, '<', $server->logfile or return '';
	seek $f, $from || 0, 0;
	local $/;
	return scalar <$f> // '';
}

# Kill the postmaster with SIGKILL and wait until its children are gone, as
# after a power cut: nothing is flushed, nobody says goodbye.
sub kill_server
{
	my ($server) = @_;
	$server->kill9;
	# The orphans notice soon; a new postmaster refuses to start before that.
	wait_until(sub { !processes_of($server->data_dir) })
	  or die 'processes of the killed server are still alive';
	# In a container nobody may bury the dead postmaster, and a new one would
	# take its pid for a living one.
	unlink $server->data_dir . '/postmaster.pid',
	  $server->host . '/.s.PGSQL.' . $server->port . '.lock';
}

# Whoever works in the data directory: the processes of its server.
sub processes_of
{
	my $dir = abs_path($_[0]);
	return map { m{(\d+)} } grep { (readlink("$_/cwd") // '') eq $dir } glob '/proc/[0-9]*';
}

# What a test with random parts is drawn from.  The same each time, so that what fails
# in one place fails in the other; DEEPHASH_SEED=random looks for what is new.
sub seed
{
	my $seed = $ENV{DEEPHASH_SEED} || 1;
	return $seed eq 'random' ? time % 1_000_000 : $seed;
}

# Try $test every 20 ms for up to $seconds; its last value.  The limit is there for what
# will never be, not for a slow machine.
sub wait_until
{
	my ($test, $seconds) = @_;
	my $end = time + ($seconds || 180);
	my $value;
	until ($value = $test->())
	{
		return $value if time > $end;
		select undef, undef, undef, 0.02;
	}
	return $value;
}

1;

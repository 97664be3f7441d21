# Crash.pm: the ways in which a test lets a server die, and what a power cut may
# do to the files of its mih indexes.
#
#   use Crash;
#   power_cut($server);          # postmaster and all its children, at once
#   kill_one($server);           # one child; the postmaster restarts the rest
#   kill_in_recovery($server);   # start, and power_cut before it is up
#   my %harm = harm_files($server);
package Crash;

use strict;
use warnings;
use Deephash;
use Exporter 'import';
use Test::More ();
use Time::HiRes qw(sleep);

our @EXPORT = qw(power_cut immediate_stop kill_one kill_in_recovery start_server harm_files);

my $block = 8192;

sub slurp
{
	open my $f, '<:raw', $_[0] or return '';
	local $/;
	return scalar <$f> // '';
}

sub postmaster
{
	my ($server) = @_;
	return slurp($server->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : undef;
}

# pid => title of the postmaster's children.
sub children
{
	my ($parent) = @_;
	my %child;
	for my $dir (glob '/proc/[0-9]*')
	{
		slurp("$dir/stat") =~ /^(\d+) \(.*\) (\S) (\d+) /s or next;
		next if $3 != $parent || $2 eq 'Z';
		($child{$1} = slurp("$dir/cmdline")) =~ s/\0.*//s;
	}
	return %child;
}

# What keeps a new postmaster from starting where nobody buries the dead one: in
# a container its pid seems to be in use.
sub clear_traces
{
	my ($server) = @_;
	unlink $server->data_dir . '/postmaster.pid', $server->host . '/.s.PGSQL.' . $server->port . '.lock';
	$server->{_pid} = undef;
}

# Everything dies at once.  The postmaster is stopped first, lest it begin to
# restart its children; a child that it forked just then is found by its folder.
sub power_cut
{
	my ($server) = @_;
	my $postmaster = postmaster($server) or die 'no postmaster to kill';
	kill 'STOP', $postmaster;
	kill 'KILL', keys %{ { children($postmaster) } }, $postmaster;
	my @left;
	wait_until(sub { @left = grep { slurp("/proc/$_/stat") =~ /^\d+ \(.*\) [^ZX] /s } Deephash::processes_of($server->data_dir); kill 'KILL', @left; !@left })
	  or die "processes of the killed server are still alive: @left";
	clear_traces($server);
}

sub immediate_stop
{
	my ($server) = @_;
	$server->stop('immediate');
	clear_traces($server);
}

# One child dies, any but those whose death restarts nobody.  Returns its title
# once the server is up again.
sub kill_one
{
	my ($server) = @_;
	my $from = -s $server->logfile;
	my %child = children(postmaster($server));
	my @pids = sort grep { $child{$_} !~ /logger|stats collector|archiver|walreceiver|logical replication/ } keys %child;
	# Mostly a session: those are the ones that change indexes.
	my @sessions = grep { $child{$_} =~ /\[local\]|autovacuum worker|parallel worker/ } @pids;
	@pids = @sessions if @sessions && rand() < 0.7;
	my $pid = $pids[ rand @pids ];
	my $title = $child{$pid};
	kill 'KILL', $pid or return;
	# It may have been about to leave anyhow.
	wait_until(sub { server_log($server, $from) =~ /all server processes terminated/ }, 10) or return;
	wait_until(sub { server_log($server, $from) =~ /all server processes terminated.*ready to accept connections/s })
	  or die 'the server did not restart its children';
	return $title;
}

# Start it; by our own hand, because the Perl module gives up where we go on.
sub start_server
{
	my ($server, @option) = @_;
	my @start = ('pg_ctl', '-s', '-t', '120', @option, '-D', $server->data_dir, '-l', $server->logfile,
		'-o', '--cluster-name=' . $server->name, 'start');
	my $status = system @start;
	return $status if @option;
	if ($status)
	{
		my @why = server_log($server) =~ /((?:FATAL|PANIC|CONTEXT): .*)/g;
		Test::More::BAIL_OUT('the server does not start: ' . join ' / ', @why > 4 ? @why[ -4 .. -1 ] : @why);
	}
	$server->{_pid} = postmaster($server);
}

# A start that is cut short.  Returns whether recovery was at work.
sub kill_in_recovery
{
	my ($server) = @_;
	my $from = -s $server->logfile;
	start_server($server, '-W');
	wait_until(sub { postmaster($server) }) or die 'the server does not start; see ' . $server->logfile;
	if (rand() < 0.2) { sleep rand 0.1 }
	else
	{
		my $end = time + 20;
		sleep 0.002 until server_log($server, $from) =~ /redo starts|ready to accept/ || time > $end;
		sleep 0.1 * rand() ** 3;
	}
	power_cut($server);
	my $log = server_log($server, $from);
	return $log =~ /redo starts/ && $log !~ /ready to accept connections/ ? 1 : 0;
}

# ------------------------------------------------------------- what a cut may do

my %old_map;    # free-space maps as they were once

# Do to the files of a killed server's mih indexes what a power cut may do.
#
# Writes since the last checkpoint may be lost or half done.  The first change
# of a page after the checkpoint logs the whole page (full_page_writes), so a
# page stamped later than its redo point can be anything: recovery makes it
# anew.  Blocks at the end of the file may be missing too.  The free-space map
# is not logged at all, so it may be missing or old.
sub harm_files
{
	my ($server) = @_;
	my %harm = (torn => 0, cut => 0, maps => 0);
	my $redo = redo_point($server);
	for my $path (glob $server->data_dir . '/base/[0-9]*/[0-9]*')
	{
		next unless $path =~ m{/\d+$};
		harm_map($path, \%harm);
		next if -e "${path}_init";    # unlogged: recovery empties it
		harm_file($path, $redo, \%harm) if is_mih($path);
	}
	return %harm;
}

sub redo_point
{
	my ($server) = @_;
	my $dir = $server->data_dir;
	`LC_ALL=C pg_controldata -D "$dir"` =~ m{REDO location:\s+([0-9A-F]+)/([0-9A-F]+)} or die 'no redo location';
	return hex($1) << 32 | hex $2;
}

# The last bytes of a page tell (MIH_PAGE_ID); block 0 may itself be lost.
sub is_mih
{
	my ($path) = @_;
	my $bytes = slurp($path);
	for (my $at = 0; $at + $block <= length $bytes; $at += $block)
	{
		return 1 if substr($bytes, $at + $block - 2, 2) eq "\x9d\xff";
	}
	return 0;
}

sub harm_file
{
	my ($path, $redo, $harm) = @_;
	my $bytes = slurp($path);
	my $n = length($bytes) / $block;
	my $zero = "\0" x $block;
	my @late;
	for my $i (0 .. $n - 1)
	{
		my ($high, $low) = unpack 'VV', substr $bytes, $i * $block, 8;
		$late[$i] = substr($bytes, $i * $block, $block) eq $zero ? 2 : ($high << 32 | $low) > $redo ? 1 : 0;
	}
	open my $f, '+<:raw', $path or die "cannot open $path: $!";
	my $keep = $n;
	if (rand() < 0.3)
	{
		$keep-- while $keep > 0 && $late[ $keep - 1 ] && rand() < 0.95;
		truncate $f, $keep * $block or die "cannot cut $path: $!";
		$harm->{cut} += $n - $keep;
	}
	for my $i (grep { $late[$_] == 1 && rand() < 0.5 } 0 .. $keep - 1)
	{
		my $page = substr $bytes, $i * $block, $block;
		my $at = 512 * int rand 16;
		if (rand() < 0.3) { $page = $zero }
		else { substr($page, $at) = pack('V', rand 2**32) x (($block - $at) / 4) }
		seek $f, $i * $block, 0;
		print $f $page;
		$harm->{torn}++;
	}
	close $f or die "cannot write $path: $!";
}

sub harm_map
{
	my ($path, $harm) = @_;
	my $map = "${path}_fsm";
	return unless -s $map && is_mih($path);
	my $old = $old_map{$map};
	my $now = slurp($map);
	my $what = rand;
	if ($what < 0.2) { unlink $map; $harm->{maps}++ }
	elsif ($what < 0.5 && $old)
	{
		open my $f, '>:raw', $map or die "cannot write $map: $!";
		print $f $old;
		close $f;
		$harm->{maps}++;
	}
	$old_map{$map} = $now if !$old || rand() < 0.3;
}

1;

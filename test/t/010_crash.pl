# The server dies at random moments while sessions change tables in every way at
# once; after recovery every index must agree with its table, entry for entry and
# answer for answer, and every row whose commit a client was told of must be there.
#
#   make crash KILLS=100       for more than the usual few
#   DEEPHASH_KILLS=100 DEEPHASH_SEED=1 prove test/t/010_crash.pl     the same
#
# The seed decides what is done and when; what the sessions do to one another is
# up to the machine.  Crash.pm says how the server dies, MihLoad.pm what it does
# meanwhile.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Crash;
use MihLoad;
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{DEEPHASH_KILLS} || 5;
# A long run is there to find what is new.
my $seed = $kills > 20 && !$ENV{DEEPHASH_SEED} ? time % 1_000_000 : seed();
srand($seed);
diag("seed $seed, $kills kills");

my $server = new_server('crash', initdb => [ '--data-checksums', '--wal-segsize=1' ], conf => <<'CONF');
autovacuum_naptime = 1s
autovacuum_vacuum_cost_delay = 0
shared_buffers = 2MB
min_wal_size = 2MB
checkpoint_timeout = 30s
full_page_writes = on
restart_after_crash = on
max_connections = 30
max_prepared_transactions = 10
jit = off
log_statement = none
log_checkpoints = off
log_min_error_statement = panic
CONF
create_tables($server, $kills > 20);

my %count = map { $_ => 0 } qw(killed compared promised recovering torn cut maps leftovers prepared);
my %way;
my (%promises, $last_way);
my $round = 0;
my $begin = time;
while ($count{killed} < $kills)
{
	$round++;
	settings();
	my $from = -s $server->logfile;
	my $seconds = 0.3 + rand 1.7;
	my @sessions = start_load($server, 3);
	sleep $seconds;
	die_somehow();
	my $load = end_load(@sessions);
	is($load->{errors}, '', "round $round, $last_way: the sessions saw no error before it");
	is($load->{wrong}, '', "round $round: answers were right before it");
	$count{compared} += $load->{compared};
	push @{ $promises{$_} }, @{ $load->{promises}{$_} } for keys %{ $load->{promises} };
	$count{prepared} += settle_prepared($server);
	$count{leftovers} += drop_leftovers($server);
	$count{compared} += compare_indexes($server, "round $round, $last_way");
	$count{promised} += compare_promises($server, "round $round", \%promises);
	my $log = server_log($server, $from);
	unlike($log, qr/PANIC|TRAP:|was terminated by signal (?!9)|refcount leak|inconsistent page|could not read block|invalid page/,
		"round $round: the log is clean");
	trim_tables($server, 4000);
	clean_up() if $round % 5 == 0 || $count{killed} >= $kills;
	last unless Test::More->builder->is_passing;
}
diag(sprintf '%d kills in %d s (%s; %d in recovery); pages torn %d, cut off %d, free-space maps lost or old %d',
	$count{killed}, time - $begin, join(', ', map { "$way{$_} $_" } sort keys %way), @count{qw(recovering torn cut maps)});
diag(sprintf '%d answers and indexes compared, %d promised rows looked for; found and settled: %d indexes with pages of no part, %d invalid ones, %d prepared transactions',
	@count{qw(compared promised)}, $MihLoad::orphaned, @count{qw(leftovers prepared)});
$server->stop;
done_testing();

# Another setting for each life of the server; it takes effect with the next start.
sub settings
{
	my $conf = sprintf "wal_level = %s\nmax_wal_senders = 0\nwal_consistency_checking = '%s'\nmax_wal_size = %s\nwal_compression = %s\nautovacuum = %s\nwal_writer_delay = %s\n",
	  pick('minimal', 'replica'), pick('', 'generic'), pick('2MB', '16MB', '256MB'), pick('on', 'off'), pick('on', 'on', 'off'), pick('10ms', '200ms');
	$server->append_conf('postgresql.conf', $conf);
}

# Die in one of the ways, perhaps again while coming up, and come up.
sub die_somehow
{
	my $chance = rand;
	$count{killed}++;
	if ($chance < 0.25)
	{
		my $title = kill_one($server);
		if ($title)
		{
			$last_way = "SIGKILL of $title";
			$way{'of one process'}++;
			return;
		}
	}
	if ($chance < 0.45)
	{
		immediate_stop($server);
		$last_way = 'immediate shutdown';
		$way{'immediate shutdowns'}++;
	}
	else
	{
		power_cut($server);
		$last_way = 'power cut';
		$way{'power cuts'}++;
		harm() if rand() < 0.7;
	}
	while (rand() < 0.4 && $count{killed} < $kills)
	{
		$count{killed}++;
		$count{recovering} += kill_in_recovery($server);
		$way{'power cuts while starting'}++;
		$last_way .= ', again while starting';
		harm() if rand() < 0.5;
	}
	start_server($server);
}

sub harm
{
	my %harm = harm_files($server);
	$count{$_} += $harm{$_} for keys %harm;
}

# After VACUUM no page is without a part, and dead parts are gone.
sub clean_up
{
	for my $name (@MihLoad::tables)
	{
		$server->safe_psql('postgres', "VACUUM $name");
		my ($status, undef, $err) = $server->psql('postgres', "SELECT mih_check('mih_$name', true)");
		is("$status $err", '0 ', "round $round: after VACUUM nothing is left over in mih_$name");
		is($server->safe_psql('postgres', "SELECT dead_parts FROM mih_stats('mih_$name')"), 0, "round $round: no dead part is left in mih_$name");
	}
}

# Two streaming standbys answer as their tables do while sessions change the
# primary in every way at once, one of them with hot_standby_feedback and one
# without, and after promotion.  Every record of generic WAL is compared with the
# page that it should make.  A query on a standby may be asked to run again
# (SQLSTATE 40001), never answer wrongly.
#
#   DEEPHASH_SECONDS=60   how long the load goes on (default 8)
#   DEEPHASH_SEED=1       what it is drawn from
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use MihLoad;
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{DEEPHASH_SECONDS} || 8;
my $seed = seed();
srand($seed);
diag("seed $seed");

my $conf = <<'CONF';
autovacuum_naptime = 1s
max_prepared_transactions = 10
max_connections = 40
shared_buffers = 4MB
wal_consistency_checking = 'generic'
jit = off
log_statement = none
CONF
my $primary = new_server('primary', streaming => 1, conf => $conf);
create_tables($primary);
$primary->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('$_')") for qw(fed unfed);
my %standby = (
	'with feedback' => new_standby($primary, 'fed', conf => "primary_slot_name = fed\nhot_standby_feedback = on\nmax_standby_streaming_delay = 5s\n"),
	'without feedback' => new_standby($primary, 'unfed', conf => "primary_slot_name = unfed\nhot_standby_feedback = off\nmax_standby_streaming_delay = 1s\n"));

read_under_load();
answers_after_rewriting($_) for sort keys %standby;
promote($_) for sort keys %standby;
$_->stop for values %standby, $primary;
done_testing();

sub catch_up
{
	my $lsn = $primary->lsn('insert');
	$primary->wait_for_catchup($_, 'replay', $lsn) for values %standby;
}

sub clean_log
{
	my ($server, $who) = @_;
	unlike(server_log($server), qr/PANIC|TRAP:|was terminated by signal|inconsistent page|refcount leak|invalid page/, "$who: the log is clean");
}

sub read_under_load
{
	my @writers = start_load($primary, $seconds, 0.05);
	my %readers;
	my %sum = map { $_ => { compared => 0, errors => '', wrong => '', retries => {} } } keys %standby;
	my $end = time + $seconds;
	do
	{
		# A conflict may end a session, so they begin anew now and then.
		$readers{$_} = [ start_readers($standby{$_}, 2, 4) ] for keys %standby;
		my $left = $end - time;
		sleep($left > 4 || $left < 0 ? 4 : $left + 1);
		for my $which (keys %standby)
		{
			my $load = stop_load($standby{$which}, @{ $readers{$which} });
			my $sum = $sum{$which};
			$sum->{compared} += $load->{compared};
			$sum->{$_} .= $load->{$_} for qw(errors wrong);
			$sum->{retries}{$_} += $load->{retries}{$_} for keys %{ $load->{retries} };
		}
		# A machine so slow that no answer came yet has some more time.
	} while (time < $end || time < $end + 180 && grep { !$_->{compared} } values %sum);
	my $load = stop_load($primary, @writers);
	is("$load->{errors}$load->{wrong}", '', 'primary: no error and no wrong answer under load');
	for my $which (sort keys %standby)
	{
		my $sum = $sum{$which};
		is("$sum->{errors}$sum->{wrong}", '', "standby $which: no error and no wrong answer under load");
		cmp_ok($sum->{compared}, '>', 0, "standby $which: answers were compared");
		diag(sprintf 'standby %s: %d answers under load; told to run again: %d where the index was rewritten, %d by other conflicts',
			$which, $sum->{compared}, map { $sum->{retries}{$_} // 0 } qw(rewritten conflict));
	}
	settle_prepared($primary);
	drop_leftovers($primary);
	compare_indexes($primary, 'primary');
	catch_up();
	compare_indexes($standby{$_}, "standby $_") for sort keys %standby;
}

# A cursor on a standby is half read when the primary has replaced, freed and
# used again every page it reads: it gives the right rest or asks for another run.
sub answers_after_rewriting
{
	my ($which) = @_;
	my $standby = $standby{$which};
	$primary->safe_psql('postgres', <<'SQL');
DROP TABLE IF EXISTS go, moved;
CREATE TABLE go ();
CREATE TABLE moved (id serial, code hashcode(64)) WITH (autovacuum_enabled = off);
CREATE INDEX mih_moved ON moved USING mih (code) WITH (chunks = 3);
INSERT INTO moved (code) SELECT draw(64) FROM generate_series(1, 4000);
SELECT mih_flush('mih_moved');
SQL
	catch_up();
	my $wait = 'DO $w$ BEGIN LOOP PERFORM FROM go; EXIT WHEN FOUND; PERFORM pg_sleep(0.01); END LOOP; END $w$';
	my ($reader) = MihLoad::run_script($standby,
		"SELECT property.held_open('moved', '''0123456789abcdef''::hashcode', 10, '$wait');\n");
	ok(wait_until(sub { $standby->safe_psql('postgres', "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'") }), "standby $which: a cursor is open");
	$primary->safe_psql('postgres', "INSERT INTO moved (code) SELECT draw(64) FROM generate_series(1, 700); SELECT mih_flush('mih_moved')") for 1 .. 8;
	$primary->safe_psql('postgres', 'INSERT INTO go SELECT');
	my $load = end_load($reader);
	is("$load->{errors}$load->{wrong}", '', "standby $which: a cursor whose pages were used again gives no wrong answer");
	is($load->{compared} + ($load->{retries}{rewritten} // 0) + ($load->{retries}{conflict} // 0), 1, "standby $which: it gave the right rest, or said to run again");
	is($primary->safe_psql('postgres', 'SELECT count(*) FROM moved'), 9600, 'the primary has all rows');
}

# It goes on as a primary: same answers, then a load of its own.
sub promote
{
	my ($which) = @_;
	my $standby = $standby{$which};
	$standby->promote;
	compare_indexes($standby, "promoted $which");
	$standby->safe_psql('postgres', join '', map { <<"SQL" } @MihLoad::tables);
INSERT INTO $_ (code) SELECT @{[ MihLoad::drawn($_) ]} FROM generate_series(1, 900) ON CONFLICT DO NOTHING;
SELECT mih_flush('mih_$_');
DELETE FROM $_ WHERE id % 3 = 0;
SQL
	$standby->safe_psql('postgres', "VACUUM $_") for @MihLoad::tables;
	compare_indexes($standby, "promoted $which, changed");
	my @writers = start_load($standby, 3);
	sleep 2;
	my $load = stop_load($standby, @writers);
	is("$load->{errors}$load->{wrong}", '', "promoted $which: no error and no wrong answer under load");
	settle_prepared($standby);
	drop_leftovers($standby);
	compare_indexes($standby, "promoted $which, after its own load");
	clean_log($standby, $which);
}

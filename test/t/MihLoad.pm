# MihLoad.pm: tables with mih indexes of several kinds, sessions that change them
# in every way at once, and the comparison of every index with its table.
#
#   use MihLoad;
#   create_tables($server);
#   my @sessions = start_load($server, $seconds);    # 7 of them; a third argument
#                                       # makes them rest so long (s) between statements
#   ... let something happen, such as the end of the server ...
#   my $load = end_load(@sessions);     # { errors, wrong, promises, compared, retries }
#   my $compared = compare_indexes($server, 'after it');
#
# start_readers asks for answers only, as a standby can give them; stop_load ends
# the sessions of a server that lives on.
package MihLoad;

use strict;
use warnings;
use Deephash;
use Exporter 'import';
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

our @EXPORT = qw(create_tables start_load start_readers stop_load end_load compare_indexes compare_promises queries_for
  drop_leftovers settle_prepared trim_tables pick);

# Small limits, so that flushes and merges happen all the time.  note changes
# without the code (a HOT update where the page has room); worker 1 owns the
# promised rows, which nobody changes again.  Codes in apart keep their distance.
our %table = (
	photo => { bits => 64, type => 'hashcode(64)', options => 'chunks = 3, pending_pages = 2' },
	near => { bits => 64, type => 'hashcode(64)', options => 'layout = references, pending_pages = 2' },
	wide => { bits => 256, type => 'hashcode(256)', options => 'pending_pages = 3' },
	long => { bits => 1024, type => 'hashcode(1024)', options => 'pending_pages = 4' },
	number => { bits => 64, type => 'bigint', options => 'chunks = 2, pending_pages = 3' },
	churn => { bits => 64, type => 'hashcode', options => 'pending_pages = 1, chunks = 2' },
	part => { bits => 64, type => 'hashcode(64)', options => 'pending_pages = 2', where => ' WHERE worker = 0' },
	scratch => { bits => 64, type => 'hashcode(64)', options => 'pending_pages = 2, chunks = 4', kind => 'UNLOGGED ' },
	apart => { bits => 64, type => 'hashcode(64)', options => 'pending_pages = 1', apart => 3 });
our @tables = sort keys %table;
our $orphaned = 0;    # indexes that mih_check found pages of no part in

my $scripts = 0;

sub pick { return $_[ int rand @_ ] }

# $large: also a table whose merges take long.
sub create_tables
{
	my ($server, $large) = @_;
	$table{large} = { bits => 64, type => 'hashcode(64)', options => 'pending_pages = 8', rows => 60000 } if $large;
	@tables = sort keys %table;
	$server->safe_psql('postgres', '\i ' . top() . '/test/property.sql');
	$server->safe_psql('postgres', <<'SQL');
CREATE SEQUENCE ids;
CREATE FUNCTION draw(bits int) RETURNS hashcode LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	kind float8 := random();
	base text;
BEGIN
	IF kind < 0.4 THEN
		base := random()::text;
	ELSIF kind < 0.7 THEN
		base := (random() * 20)::int || ' ' || (random() * 2)::int;
	ELSE
		base := (random() * 40)::int || ' near';
	END IF;
	base := (SELECT string_agg(md5(base || i), '') FROM generate_series(1, (bits + 127) / 128) i);
	IF kind >= 0.7 THEN
		base := overlay(base placing to_hex((random() * 15)::int) from 1 + (random() * 12)::int);
	END IF;
	RETURN left(base, bits / 4)::hashcode;
END $$;
-- What a near-duplicate constraint is asked, with and without its index, and
-- whether it holds.
CREATE FUNCTION property.apart(tab text, q text, r int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	query text := format('SELECT count(*) || '' '' || coalesce(sum(id), 0) FROM %s WHERE hashball(code, %s) <@> hashball(%s, %s)', tab, r, q, r);
	want text;
	got text;
	pairs bigint;
BEGIN
	PERFORM property.sequential();
	EXECUTE query INTO want;
	EXECUTE format('SELECT count(*) FROM %1$s a JOIN %1$s b ON a.id < b.id AND (a.code <~> b.code) <= %2$s', tab, r) INTO pairs;
	PERFORM property.through_index('index');
	IF NOT property.uses_index(query) THEN
		RETURN 'DIFFERS: no index in the plan of ' || query;
	END IF;
	EXECUTE query INTO got;
	RETURN CASE WHEN got = want AND pairs = 0 THEN 'ok' ELSE format('DIFFERS: %s: %s, right is %s; %s pairs too near', query, got, want, pairs) END;
END $$;
SQL
	for my $name (@tables)
	{
		my $t = $table{$name};
		my $kind = $t->{kind} || '';
		$server->safe_psql('postgres', <<"SQL");
CREATE ${kind}TABLE $name (id int PRIMARY KEY DEFAULT nextval('ids'), worker int NOT NULL DEFAULT 0,
	note int NOT NULL DEFAULT 0, code $t->{type})
	WITH (fillfactor = 80, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0);
@{[ $t->{apart} ? "ALTER TABLE $name ADD CONSTRAINT mih_$name EXCLUDE USING mih (hashball(code, $t->{apart}) WITH <\@>) WITH ($t->{options})"
	: create_index($name, "mih_$name") ]};
INSERT INTO $name (code) SELECT @{[ drawn($name) ]} FROM generate_series(1, @{[ $t->{rows} || 1500 ]}) ON CONFLICT DO NOTHING;
SQL
	}
}

# The command that makes an index of the table, with further or other options.
sub create_index
{
	my ($name, $index, $how, $options) = @_;
	my $t = $table{$name};
	$how ||= '';
	$options ||= $t->{options};
	return "CREATE INDEX$how $index ON $name USING mih (code) WITH ($options)" . ($t->{where} || '');
}

# ------------------------------------------------------------------ the sessions

# What to ask for a new code of the table.
sub drawn
{
	my ($name) = @_;
	return "draw($table{$name}{bits})::$table{$name}{type}";
}

sub inserted
{
	my ($name, $rows, $code) = @_;
	return "INSERT INTO $name (code) SELECT " . ($code || drawn($name)) . " FROM generate_series(1, $rows) ON CONFLICT DO NOTHING";
}

sub some_null { return 'CASE WHEN random() < 0.9 THEN ' . drawn($_[0]) . ' END' }

# A statement, or a few, of each kind; @_ is the table and a number of its own.
my %statement = (
	single => sub { inserted($_[0], 1) },
	several => sub { inserted($_[0], 1 + int rand 60, some_null($_[0])) },
	many => sub { inserted($_[0], 700, some_null($_[0])) },
	copy => sub { "COPY $_[0] (worker, code) FROM '" . rows_file($_[0]) . "'" },
	hot => sub { "UPDATE $_[0] SET note = note + 1 WHERE worker = 0 AND id % 31 = " . int rand 31 },
	update => sub { "UPDATE $_[0] SET code = " . drawn($_[0]) . " WHERE worker = 0 AND id % 53 = " . int rand 53 },
	delete => sub { "DELETE FROM $_[0] WHERE worker = 0 AND id % 17 = " . int rand 17 },
	abort => sub { 'BEGIN; ' . inserted($_[0], 100) . '; ROLLBACK' },
	subxact => sub {
		my $insert = inserted($_[0], 30);
		"BEGIN; $insert; SAVEPOINT a; $insert; DELETE FROM $_[0] WHERE worker = 0 AND id % 41 = 0; ROLLBACK TO a; $insert; COMMIT";
	},
	prepared => sub {
		my $end = pick('COMMIT', 'ROLLBACK');
		'BEGIN; ' . inserted($_[0], 40) . "; PREPARE TRANSACTION 'p$_[1]'; SELECT pg_sleep(0.1) IS NULL; $end PREPARED 'p$_[1]'";
	},
	vacuum => sub { 'VACUUM ' . pick('', '', '(FREEZE) ', '(PARALLEL 2) ') . $_[0] },
	flush => sub { "SELECT mih_flush('mih_$_[0]') IS NULL" },
	merge => sub { "SELECT mih_merge('mih_$_[0]') IS NULL" },
	cic => sub {
		my $options = pick('pending_pages = 1', 'chunks = 4, pending_pages = 3', 'layout = packed', 'layout = references, pending_pages = 2');
		'DROP INDEX ' . pick('', 'CONCURRENTLY ') . "IF EXISTS mih_extra_$_[0];\n" . create_index($_[0], "mih_extra_$_[0]", ' CONCURRENTLY', $options);
	},
	build => sub { "DROP INDEX IF EXISTS mih_extra_$_[0];\nSET min_parallel_table_scan_size = " . pick(0, "'8MB'") . ";\n" . create_index($_[0], "mih_extra_$_[0]") },
	drop => sub { 'DROP INDEX ' . pick('', 'CONCURRENTLY ') . "IF EXISTS mih_extra_$_[0]" },
	reindex => sub { $table{$_[0]}{apart} ? "REINDEX INDEX mih_$_[0]" : pick("REINDEX INDEX CONCURRENTLY mih_$_[0]", "REINDEX TABLE CONCURRENTLY $_[0]", "REINDEX INDEX mih_$_[0]") },
	truncate => sub { "BEGIN; TRUNCATE churn; COPY churn (worker, code) FROM '" . rows_file('churn') . "'; " . pick('COMMIT', 'COMMIT', 'ROLLBACK') },
	cancel => sub {
		my $what = pick("VACUUM $_[0]", "SELECT mih_flush('mih_$_[0]') IS NULL", "SELECT mih_merge('mih_$_[0]') IS NULL", "REINDEX INDEX mih_$_[0]", inserted($_[0], 3000));
		"SET statement_timeout = " . (3 + int rand 60) . ";\n$what;\nSET statement_timeout = 0";
	},
	checkpoint => sub { 'CHECKPOINT' },
	check => sub { "SELECT mih_check('mih_$_[0]', " . pick('true', 'false') . ') IS NULL' },
	read => sub { 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ' . pick(queries_for($_[0], 0)) . '; COMMIT' });

# What each session draws from.
my @mixtures = (
	[qw(single single several several update hot)],
	[qw(many copy several delete delete)],
	[qw(several hot update delete vacuum abort subxact prepared)],
	[qw(flush flush many several copy checkpoint merge)],
	[qw(cic drop reindex build several vacuum cancel)],
	[qw(truncate delete vacuum several cancel check)],
	[qw(read read read check single hot)]);

# What constraints, concurrent DDL, cancels and deadlocks may say to a session.
my $pardoned = qr/^(?:23P01|40P01|40001|55P03|57014|57P0\d|08\w\w\w|42704|42P01|42P07|53300|25P02|55000:\s+index\ "\w+"\ is\ not\ valid
	|XX000:\s+(?:could\ not\ open\ relation\ with\ OID|tuple\ concurrently|cache\ lookup\ failed))/x;

sub start_load
{
	my ($server, $seconds, $rest) = @_;
	write_rows($_) for @tables;
	my $number = 0;
	return map { start_session($server, ++$number, $seconds, $rest, @$_) } @mixtures;
}

sub rows_file { return "$ENV{TESTDIR}/rows_$_[0].tsv" }

# Rows for COPY, which the server reads.
sub write_rows
{
	my ($name) = @_;
	my $bits = $table{$name}{bits};
	my $code = sub { my $hex = hex_code($bits); return $table{$name}{type} eq 'bigint' ? unpack 'q>', pack 'H16', $hex : $hex };
	my @pool = map { $code->() } 1 .. 6;
	@pool = () if $table{$name}{apart};
	open my $f, '>', rows_file($name) or die "cannot write rows: $!";
	print $f join("\t", 0, rand() < 0.05 ? '\N' : rand() < 0.6 || !@pool ? $code->() : pick(@pool)) . "\n" for 1 .. 300;
	close $f;
}

sub hex_code
{
	my ($bits) = @_;
	return join '', map { sprintf '%04x', int rand 65536 } 1 .. $bits / 16;
}

# More statements than fit into so many seconds, each followed now and then by
# a promise: a row that must be there after a crash if its id was told.
sub start_session
{
	my ($server, $number, $seconds, $rest, @mixture) = @_;
	my $script = "SET lock_timeout = '2s';\nSET maintenance_work_mem = '" . pick('1MB', '4MB', '64MB') . "';\n";
	for my $n (1 .. 400 * $seconds)
	{
		my ($name, $what) = (pick(@tables), pick(@mixture));
		$name = 'photo' if $table{$name}{apart} && $what =~ /^(?:cic|build|drop)$/;
		$script .= $statement{$what}->($name, "${number}_$n") . ";\n";
		$script .= "SELECT pg_sleep($rest) IS NULL;\n" if $rest;
		$name = pick(grep { !/^(?:churn|scratch|apart)$/ } @tables);
		$script .= "INSERT INTO $name (worker, code) VALUES (1, @{[ drawn($name) ]}) RETURNING 'kept $name ' || id;\n" if rand() < 0.5;
	}
	return run_script($server, $script);
}

# Sessions that compare answers over and over, for a standby too: some at once,
# some through a cursor that waits between its rows.  On a standby an index that was
# built after a snapshot was taken may be used under it, and lack rows that had gone
# by then: PostgreSQL's own indexes answer wrongly there too, as a build waits for
# snapshots of the primary alone.  So what differs counts only if the indexes of the
# table are those that they were before.
sub start_readers
{
	my ($server, $sessions, $seconds) = @_;
	my @logged = grep { !$table{$_}{kind} } @tables;
	return map {
		run_script($server, join '', map {
			my $name = pick(@logged);
			my $query = rand() < 0.7 ? pick(queries_for($name, 0))
			  : $table{$name}{apart} ? pick(queries_for($name, 0))
			  : sprintf "property.held_open('%s', %s, %d, 'SELECT pg_sleep(%.3f)')", $name,
			  quote("'" . hex_code($table{$name}{bits}) . "'::hashcode" . ($table{$name}{type} eq 'bigint' ? '::bigint' : '')), pick(1, 100, 600), rand 0.5;
			# mih_check itself, because a standby may ask for another run.
			$query = "CASE WHEN mih_check('mih_$name', true) >= 0 THEN 'ok' END" if rand() < 0.1;
			my $indexes = "SELECT string_agg(concat(indexrelid, ' ', pg_relation_filenode(indexrelid), ' ', indisvalid), ',' ORDER BY indexrelid) FROM pg_index WHERE indrelid = '$name'::regclass";
			<<"SQL";
\\set answer ''
SELECT ($indexes) AS indexes \\gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT coalesce($query, '') AS answer \\gset
COMMIT;
SELECT CASE WHEN :'answer' LIKE 'DIFFERS%' AND ($indexes) IS DISTINCT FROM :'indexes' THEN 'index built since' ELSE :'answer' END WHERE :'answer' <> '';
SQL
		} 1 .. 200 * $seconds)
	} 1 .. $sessions;
}

sub run_script
{
	my ($server, $script) = @_;
	my $base = "$ENV{TESTDIR}/load" . ++$scripts;
	open my $f, '>', "$base.sql" or die "cannot write $base.sql: $!";
	print $f "\\set VERBOSITY verbose\nSET client_min_messages = error;\n", $script;
	close $f;
	my $pid = fork // die "cannot fork: $!";
	if (!$pid)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$base.out" or POSIX::_exit(1);
		open STDERR, '>', "$base.err" or POSIX::_exit(1);
		exec 'psql', '-XAtq', '-d', $server->connstr('postgres'), '-f', "$base.sql" or POSIX::_exit(1);
	}
	return { pid => $pid, base => $base };
}

# The clients go away; wait until their statements have ended too.
sub stop_load
{
	my ($server, @sessions) = @_;
	kill 'TERM', map { $_->{pid} } @sessions;
	my $load = end_load(@sessions);
	wait_until(sub { !$server->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()") })
	  or die 'sessions do not end';
	return $load;
}

sub lines_of
{
	open my $f, '<', $_[0] or return;
	chomp(my @lines = <$f>);
	return @lines;
}

# Wait for the sessions, whose server is gone, or make them stop, and collect
# what they were told.
sub end_load
{
	my @sessions = @_;
	my %load = (errors => '', wrong => '', promises => {}, compared => 0, retries => {});
	for my $session (@sessions)
	{
		my $gone;
		wait_until(sub { $gone = waitpid($session->{pid}, POSIX::WNOHANG()) }, $session->{patience} // 30);
		if (!$gone) { kill 'KILL', $session->{pid}; waitpid $session->{pid}, 0 }
		for (lines_of("$session->{base}.out"))
		{
			if (/^kept (\w+) (\d+)$/) { push @{ $load{promises}{$1} }, $2 }
			elsif ($_ eq 'ok') { $load{compared}++ }
			elsif (/^DIFFERS/) { $load{wrong} .= "$_\n" }
		}
		for (lines_of("$session->{base}.err"))
		{
			next unless /(?:ERROR|FATAL|PANIC):\s+(.*)/;
			my $error = substr $1, 0, 400;
			$load{retries}{ $error =~ /^40001:\s+(index "\w+" was rewritten)?/ ? $1 ? 'rewritten' : 'conflict' : 'other' }++;
			$load{errors} .= "$error\n" unless $error =~ $pardoned;
		}
		unlink map { "$session->{base}.$_" } qw(sql out err) unless $load{errors} || $load{wrong};
	}
	return \%load;
}

# ------------------------------------------------------------------- comparisons

# Expressions for the select list that compare k-NN and radius queries through an
# index with a sequential scan (test/property.sql); each gives 'ok' or a complaint.
sub queries_for
{
	my ($name, $must, @code) = @_;
	my $t = $table{$name};
	$must = $must ? 'true' : 'false';
	my $cond = $t->{where} ? 'worker = 0' : 'true';
	my $cast = '::hashcode' . ($t->{type} eq 'bigint' ? '::bigint' : '');
	my $q = sub { quote("'" . (@code && rand() < 0.7 ? pick(@code) : hex_code($t->{bits})) . "'$cast") };
	return map { sprintf "property.apart('%s', %s, %d)", $name, $q->(), $t->{apart} } 1 .. 2 if $t->{apart};
	my @calls;
	push @calls, sprintf "property.knn('%s', %s, '%s', %s, %d, false, %s)", $name, $q->(), $cond, @$_, $must
	  for [ 'NULL', 0 ], [ 10, 0 ], [ 100, pick(0, 50) ];
	for my $way (qw(ordered bitmap index))
	{
		my ($code, $r) = ($q->(), pick(0, 2, 8, int $t->{bits} / 4, int $t->{bits} / 2));
		(my $ball = $code) =~ s/^'|'$//g;
		push @calls, sprintf "property.radius('%s', %s, %d, 'code <@ hashball((%s)::hashcode, %d)', '%s', '%s', %s)",
		  $name, $code, $r, $ball, $r, $cond, $way, $must;
	}
	push @calls, sprintf "property.rescan('%s', ARRAY[%s], %d, %s)", $name, join(', ', map { $q->() } 1 .. 3), pick(1, 10, 300), $must
	  unless $t->{where};
	push @calls, sprintf "property.counted('%s', 'code IS NULL AND %s')", $name, $cond;
	return @calls;
}

sub quote
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# mih_check and queries for every index of every table; one test a table.
# Returns how many answers were compared.
sub compare_indexes
{
	my ($server, $when) = @_;
	my $compared = 0;
	my $standby = $server->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 't';
	for my $name (grep { !$standby || !$table{$_}{kind} } @tables)
	{
		my @index = split /\n/, $server->safe_psql('postgres', "SELECT indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
				JOIN pg_am a ON a.oid = relam WHERE amname = 'mih' AND indrelid = '$name'::regclass AND indisvalid ORDER BY 1");
		my @code = split /\n/, $server->safe_psql('postgres', "SELECT code::hashcode FROM $name WHERE code IS NOT NULL ORDER BY hashint4(id + @{[ int rand 1e6 ]}) LIMIT 12");
		my $t = $table{$name};
		my $rows = $server->safe_psql('postgres', "SELECT count(*) FROM $name");
		my ($script, $want) = ('', 0);
		for my $index (@index)
		{
			# The other indexes step aside, so that each is asked.
			my @others = grep { $_ ne $index && !$standby } @index;
			my @calls = queries_for($name, 1, @code);
			@calls = map { splice @calls, rand @calls, 1 } 1 .. 3 if $t->{rows};    # each takes long
			unshift @calls, "property.checked('$index')";
			$script .= 'BEGIN; ' . (@others ? 'DROP INDEX ' . join(', ', @others) . '; ' : '')
			  . join('', map { "SELECT $_;\n" } @calls) . "ROLLBACK;\n";
			$want += @calls;
		}
		my ($status, $out, $err) = $server->psql('postgres', $script, on_error_die => 0);
		my @wrong = grep { $_ ne 'ok' && $_ ne '' } split /\n/, $out;
		my $right = () = $out =~ /^ok$/mg;
		$compared += $right;
		$orphaned += () = $err =~ /of no part/g;
		ok(!@wrong && $status == 0 && $right == $want, "$when: $rows rows of $name and " . join(' and ', @index) . ' agree')
		  or diag(map { substr($_, 0, 1000) . "\n" } @wrong, $err, "$right of $want");
	}
	return $compared;
}

# The promised rows are in the table, and the index finds each under its code.
sub compare_promises
{
	my ($server, $when, $promises) = @_;
	my $n = 0;
	my $missing = '';
	for my $name (sort keys %$promises)
	{
		my $ids = join ',', @{ $promises->{$name} };
		$n += @{ $promises->{$name} };
		$missing .= $server->safe_psql('postgres', "SELECT '$name ' || id FROM unnest('{$ids}'::int[]) id
			WHERE NOT EXISTS (SELECT FROM $name p WHERE p.id = id.id) LIMIT 3");
		next if $table{$name}{where};
		$missing .= $server->safe_psql('postgres', "SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT 'in mih_$name ' || p.id
			FROM $name p WHERE p.id = ANY ('{$ids}') AND NOT EXISTS (SELECT FROM $name x WHERE x.code <@ hashball(p.code::hashcode, 0) AND x.id = p.id) LIMIT 3");
	}
	is($missing, '', "$when: all $n promised rows are there");
	return $n;
}

# Indexes that CREATE or REINDEX CONCURRENTLY did not live to make valid: a few
# are made good by REINDEX, all others dropped.  Returns how many there were.
# (TRUNCATE makes valid what a REINDEX CONCURRENTLY left; such copies go too.)
sub drop_leftovers
{
	my ($server) = @_;
	$server->safe_psql('postgres', "DROP INDEX $_") for split /\n/, $server->safe_psql('postgres',
		q(SELECT indexrelid::regclass FROM pg_index WHERE indisvalid AND indexrelid::regclass::text ~ '_cc(new|old)'));
	my @left = split /\n/, $server->safe_psql('postgres', 'SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid ORDER BY 1');
	for my $index (@left)
	{
		$server->safe_psql('postgres', $index =~ /^mih_\w+_cc/ || rand() < 0.5 ? "DROP INDEX $index" : "REINDEX INDEX $index");
	}
	return scalar @left;
}

# Transactions that were prepared and not ended: some commit, some do not.
sub settle_prepared
{
	my ($server) = @_;
	my @left = split /\n/, $server->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts ORDER BY 1');
	$server->safe_psql('postgres', pick('COMMIT', 'ROLLBACK') . " PREPARED '$_'") for @left;
	return scalar @left;
}

# Keep the tables at a few thousand rows.
sub trim_tables
{
	my ($server, $rows) = @_;
	$server->safe_psql('postgres', join '', map {
		my $most = $table{$_}{rows} || ($table{$_}{apart} || $_ eq 'long' ? $rows / 3 : $rows);
		"DELETE FROM $_ WHERE worker = 0 AND id < (SELECT min(id) FROM (SELECT id FROM $_ WHERE worker = 0 ORDER BY id DESC LIMIT $most) s);\n"
	} @tables);
}

1;

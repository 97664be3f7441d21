# property.pl: the promise of the index, tried on random tables.  Speaks TAP.
#
# Each round draws a table (type and length of the codes, how they are distributed,
# how many, NULLs, kind of table and index), then changes it in every way SQL has
# and after each change compares k-NN and radius queries through the index with
# a sequential scan and sort, distance for distance; and it asks mih_check.
#
#   DEEPHASH_ROUNDS=40           how many tables
#   DEEPHASH_SEED=1              what they are drawn from; `random`: from the time
#   DEEPHASH_ROUND=7             only round 7 of that seed, to look at a failure
#   DEEPHASH_PROPERTY_SABOTAGE=1 hides one row of each table from its index; then
#                                this test must fail (property_notices.pl)
use strict;
use warnings;
use Digest::MD5 qw(md5 md5_hex);
use FindBin;
use lib "$FindBin::RealBin/t";
use Deephash;
use Test::More;

my $rounds = $ENV{DEEPHASH_ROUNDS} || 40;
my $seed = seed();
my $sabotage = $ENV{DEEPHASH_PROPERTY_SABOTAGE};
my @lengths = (8, 16, 32, 48, 64, 64, 64, 100, 128, 256, 1, 13, 65, 200, 1000, 4096);
my @kinds = qw(uniform clustered duplicates equal mixed uniform clustered);
my $type;    # of the codes of the table at hand

my $server = new_server('property', conf => <<'CONF');
autovacuum = off
shared_buffers = 4MB
jit = off
max_parallel_workers_per_gather = 0
log_statement = none
log_min_duration_statement = 2s
CONF
$server->safe_psql('postgres', "\\i $FindBin::RealBin/property.sql");

diag("seed $seed, $rounds rounds");
my $asked = 0;
for my $round ($ENV{DEEPHASH_ROUND} || (1 .. $rounds))
{
	srand(unpack 'N', md5("$seed $round"));    # near seeds would draw alike
	my ($title, $script, $checks) = draw_round($round);
	my ($status, $out, $err) = $server->psql('postgres', $script, on_error_stop => 1, on_error_die => 0);
	my $right = () = $out =~ /^ok$/mg;
	my @wrong = grep { $_ ne 'ok' && $_ ne '' } split /\n/, $out;
	my $good = $status == 0 && !@wrong && $right == $checks;
	ok($good, "round $round: $title, $checks checks");
	$asked += $right + @wrong;
	next if $good;
	@wrong = ((grep { /mih_check/ } @wrong)[0 .. 0], grep { !/mih_check/ } @wrong);
	splice @wrong, 5 if @wrong > 5;
	diag(substr $_, 0, 6000) for @wrong;    # codes of 4096 bits are long
	diag("psql ended with status $status after $right of $checks checks") if $right + @wrong < $checks;
	$err =~ s/.*division by zero\n//g;    # the failures that change() makes
	diag(substr $err, 0, 2000) if $err;
	diag("again: DEEPHASH_SEED=$seed DEEPHASH_ROUND=$round prove test/property.pl");
	keep_script($round, $script);
}
note("$asked checks");
unlike(server_log($server), qr/PANIC|TRAP:|was terminated by signal/, 'no crash in the log');
$server->stop;
done_testing();

sub keep_script
{
	my ($round, $script) = @_;
	my $path = "$ENV{TESTDIR}/round_$round.sql";
	open my $f, '>', $path or return;
	print $f $script;
	close $f;
	diag("the script of this round is $path");
}

# ---------------------------------------------------------------------- drawing

sub pick { return $_[ int rand @_ ] }
sub upto { return int rand($_[0] + 1) }
sub chance { return rand() < $_[0] }

# The SQL of one round, a title, and how many lines `ok` it must print.
sub draw_round
{
	my ($round) = @_;
	my %t = (
		bits => pick(@lengths),
		kind => pick(@kinds),
		rows => pick(0, 1, 7, 60, 300, 300, 1500, 1500, 4000),
		nulls => pick(0, 0, 0.02, 0.3),
		table => pick('TABLE', 'TABLE', 'TABLE', 'UNLOGGED TABLE', 'TEMP TABLE'),
		partial => chance(0.1),
		next_id => 1,
		checks => 0);
	@t{qw(rows bits kind large)} = (20000 + int rand 60000, pick(64, 64, 128, 32), pick(qw(uniform clustered)), 1) if $round % 12 == 0;
	($t{rows}, $t{partial}) = ($t{rows} || 60, 0) if $sabotage;
	$type = pick(("hashcode($t{bits})") x 3, "bit($t{bits})", 'varbit', ('bigint') x ($t{bits} == 64));
	$t{options} = chance(0.4) ? '' : pick((' WITH (layout = references)') x 5, ' WITH (layout = packed)',
		map { " WITH (chunks = $_)" } 1 .. ($t{bits} < 8 ? $t{bits} : 8));
	$t{where} = $t{partial} ? ' WHERE grp < 5' : '';
	$t{pool} = [ map { random_code($t{bits}) } 1 .. pick(1, 3, 20) ];
	$t{create_index} = "CREATE INDEX mih_index ON t USING mih (code)$t{options}$t{where};\n";

	my $sql = "SET client_min_messages = error;\nSET work_mem = '" . pick('64kB', '1MB', '16MB') . "';\n"
	  . "SET maintenance_work_mem = '" . pick('1MB', '64MB') . "';\n"
	  . "DROP TABLE IF EXISTS t;\n"
	  . "CREATE $t{table} t (id int, grp int, note int DEFAULT 0, code $type)"
	  . pick('', '', ' WITH (fillfactor = 60)') . ";\n";
	my $first = chance(0.3);    # index before the rows
	$sql .= $t{create_index} if $first;
	$sql .= $t{large} ? insert_many(\%t, $t{rows}) : insert(\%t, $t{rows});
	$sql .= $t{create_index} unless $first;
	# Checked at once, before a change gives the hidden row an entry.
	$sql .= hide_one_row(\%t) . check(\%t) if $sabotage;
	$sql .= queries(\%t) . check(\%t);
	for (1 .. 3 + upto(3))
	{
		$sql .= change(\%t) for 1 .. 1 + upto(2);
		$sql .= queries(\%t) . check(\%t);
	}
	$sql .= "DROP TABLE t;\n";
	my $title = sprintf '%s of %d rows, %d bits in %s, %s%s%s', lc $t{table}, $t{rows}, $t{bits}, $type =~ s/\(.*//r, $t{kind},
	  ($t{nulls} ? ', NULLs' : ''), $t{partial} ? ', partial index' : $t{options};
	return ($title, $sql, $t{checks});
}

sub random_code
{
	my ($bits) = @_;
	return join '', map { int rand 2 } 1 .. $bits;
}

# Each bit turned with the given probability, once at least.
sub near
{
	my ($code, $p) = @_;
	my @bit = split //, $code;
	$bit[ rand @bit ] ^= 1;
	for (@bit) { $_ ^= 1 if rand() < $p }
	return join '', @bit;
}

# A code of the table's distribution.
sub code
{
	my ($t) = @_;
	my $kind = $t->{kind} eq 'mixed' ? pick(qw(uniform clustered duplicates)) : $t->{kind};
	return random_code($t->{bits}) if $kind eq 'uniform';
	return $t->{pool}[0] if $kind eq 'equal';
	my $centre = pick(@{ $t->{pool} });
	return $kind eq 'clustered' || chance(0.05) ? near($centre, 0.04) : $centre;
}

# A code to ask for: of the table, beside it, or far from all of it.
sub target
{
	my ($t) = @_;
	my $code = code($t);
	$code = row_of_many($t, 1 + int rand $t->{rows}) if $t->{large};
	$code = pick($code, $code, near($code, 0.05), near($code, 0.2), random_code($t->{bits}),
		$code =~ tr/01/10/r, '0' x $t->{bits});
	return quoted($code);
}

sub text_form
{
	my ($code) = @_;
	return $code if $type =~ /bit/;
	return unpack 'q>', pack 'B64', $code if $type eq 'bigint';
	return "b'$code'" if length($code) % 4 || chance(0.1);
	return join '', map { sprintf '%x', oct "0b$_" } $code =~ /(.{4})/g;
}

sub quoted
{
	my $text = text_form($_[0]);
	$text =~ s/'/''/g;
	return "'$text'::" . ($type =~ /hashcode/ ? 'hashcode' : $type);
}

# --------------------------------------------------------------------- changing

sub insert
{
	my ($t, $n) = @_;
	my $sql = "COPY t (id, grp, code) FROM STDIN;\n";
	for (1 .. $n)
	{
		$sql .= join("\t", $t->{next_id}++, int rand 10, rand() < $t->{nulls} ? '\N' : text_form(code($t))) . "\n";
	}
	return $n ? "$sql\\.\n" : '';
}

# Many rows, drawn by the server so that it goes fast: uniform ones, or groups of
# 100 that share all but a few bits.
sub insert_many
{
	my ($t, $n) = @_;
	my ($first, $digits) = ($t->{next_id}, $t->{bits} / 4);
	$t->{next_id} += $n;
	my $code = $t->{kind} eq 'uniform' ? "md5('$first' || i)"
	  : "overlay(md5('$first' || i / 100) placing left(md5(i::text), 1) from 1 + i % $digits)";
	return "INSERT INTO t (id, grp, code) SELECT i, i % 10, CASE WHEN i % 50 > 0 THEN left($code, $digits)::hashcode::$type END
		FROM generate_series($first, @{[ $t->{next_id} - 1 ]}) i;\n";
}

# The code of row $i of the first insert_many, to ask for.
sub row_of_many
{
	my ($t, $i) = @_;
	my $digits = $t->{bits} / 4;
	my $hex = md5_hex('1' . ($t->{kind} eq 'uniform' ? $i : int $i / 100));
	substr($hex, $i % $digits, 1) = substr md5_hex($i), 0, 1 if $t->{kind} ne 'uniform';
	return join '', map { sprintf '%04b', hex } split //, substr $hex, 0, $digits;
}

sub insert_singly
{
	my ($t, $n) = @_;
	return join '', map { sprintf "INSERT INTO t (id, grp, code) VALUES (%d, %d, %s);\n",
		$t->{next_id}++, int rand 10, rand() < $t->{nulls} ? 'NULL' : quoted(code($t)) } 1 .. $n;
}

sub some_rows
{
	my ($t) = @_;
	my $m = pick(1, 2, 3, 7, 20, 100);
	return pick("id % $m = " . int rand $m, 'grp = ' . int rand 10,
		'id BETWEEN ' . join(' AND ', sort { $a <=> $b } upto($t->{next_id}), upto($t->{next_id})));
}

sub modify
{
	my ($t) = @_;
	return pick(
		sub { insert($t, pick(1, 10, 100, 700)) },
		sub { $t->{large} ? insert_many($t, 1 + upto(20000)) : insert($t, pick(1, 10, 100, 700)) },
		sub { insert_singly($t, 1 + upto(20)) },
		sub { "UPDATE t SET note = note + 1 WHERE " . some_rows($t) . ";\n" },
		sub { "UPDATE t SET grp = (grp + 3) % 10 WHERE " . some_rows($t) . ";\n" },
		sub { "UPDATE t SET code = " . quoted(code($t)) . " WHERE " . some_rows($t) . ";\n" },
		sub { "UPDATE t SET code = ~code WHERE " . some_rows($t) . ";\n" },
		sub { "UPDATE t SET code = NULL WHERE " . some_rows($t) . " AND id % 5 = 0;\n" },
		sub { "DELETE FROM t WHERE " . some_rows($t) . ";\n" },
		sub { "DELETE FROM t WHERE " . some_rows($t) . ";\n" },
		sub { "DELETE FROM t WHERE (code <~> " . target($t) . ") < " . upto($t->{bits} / 2) . ";\n" },
	)->();
}

sub maintain
{
	my ($t) = @_;
	return pick(
		"VACUUM t;\n", "VACUUM t;\n", "VACUUM t;\n", "VACUUM FREEZE t;\n",
		"VACUUM (INDEX_CLEANUP off) t;\n", "VACUUM FULL t;\n", "ANALYZE t;\n", "CHECKPOINT;\n",
		flush(), flush(), flush(), flush(),
		"REINDEX INDEX mih_index;\n", "REINDEX INDEX CONCURRENTLY mih_index;\n",
		"DROP INDEX mih_index;\n" . ($t->{create_index} =~ s/INDEX/INDEX CONCURRENTLY/r),
		(chance(0.2) ? "TRUNCATE t;\n" : "VACUUM t;\n"));
}

sub flush { return "DO \$\$ BEGIN PERFORM mih_flush('mih_index'); END \$\$;\n" }

sub change
{
	my ($t) = @_;
	my $which = rand;
	return modify($t) if $which < 0.45;
	return maintain($t) if $which < 0.8;
	return "BEGIN;\n" . modify($t) . queries($t, 3) . "ROLLBACK;\n" if $which < 0.87;
	return "BEGIN;\n" . modify($t) . "SAVEPOINT a;\n" . modify($t) . queries($t, 2) . "ROLLBACK TO a;\n"
	  . modify($t) . pick('', flush()) . queries($t, 2) . "COMMIT;\n" if $which < 0.95;
	# A failed statement leaves entries of rows that never were.
	return "\\set ON_ERROR_STOP off\nBEGIN;\n" . modify($t)
	  . "SELECT 1 / 0;\nROLLBACK;\n\\set ON_ERROR_STOP on\n";
}

# --------------------------------------------------------------------- querying

sub queries
{
	my ($t, $n) = @_;
	$n ||= 8 + upto(8);
	$n = 6 if $t->{large} && $n > 6;
	my @calls = map { query($t) } 1 .. $n;
	# One that must see every row, so that no lost entry stays unnoticed.
	my $all = $t->{partial} ? 'grp < 5' : 'true';
	push @calls, sprintf "property.knn('t', %s, %s, NULL, 0, false, true)", literal(target($t)), literal($all);
	push @calls, sprintf "property.distances('t', %s)", literal(target($t)) if chance(0.2);
	push @calls, sprintf "property.counted('t', %s)", literal(pick($all, 'code IS NULL', "code IS NOT NULL"));
	$t->{checks} += @calls;
	return join '', map { "SELECT $_;\n" } @calls;
}

sub literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

sub query
{
	my ($t) = @_;
	my ($q, $bits) = (target($t), $t->{bits});
	my $cond = pick('true', 'true', 'grp = 3', 'id % 7 = 0', 'code IS NOT NULL', 'code IS NULL', 'grp = -1', 'note = 0 AND grp <> 2');
	$cond = "grp < 5 AND $cond" if $t->{partial};
	my $r = pick(0, 1, 2, 3, 5, int($bits / 8), int($bits / 4), int($bits / 2), $bits, $bits + 3, upto($bits));
	my $which = rand;
	if ($which < 0.5)
	{
		my $lim = pick(1, 2, 10, 10, 100, 1000, 'NULL');
		return sprintf 'property.knn(%s, %s, %s, %s, %s, %s, true)', "'t'", literal($q), literal($cond), $lim,
		  pick(0, 0, 0, 3, 50), $lim ne 'NULL' && chance(0.2) ? 'true' : 'false';
	}
	if ($which < 0.85 || $t->{partial})
	{
		my $ball = chance(0.5) ? "code <@ hashball(($q)::hashcode, $r)" : "hamming_within(code, $q, $r)";
		return sprintf 'property.radius(%s, %s, %s, %s, %s, %s, true)', "'t'", literal($q), $r, literal($ball),
		  literal($cond), literal(pick(qw(ordered index bitmap bitmap)));
	}
	my $q2 = target($t);
	if ($which < 0.92)
	{
		my $way = pick('bitmap', 'index', '');
		my $joiner = $way eq 'index' ? 'AND' : pick(qw(AND OR));
		return sprintf 'property.two_balls(%s, %s, %s, %s, %s, %s, %s, %s)', "'t'", literal($q), $r, literal($q2),
		  upto($bits), literal($joiner), literal($way), $way ? 'true' : 'false';
	}
	if ($which < 0.97)
	{
		my @qs = map { literal($_) } ($q, "NULL::$type", $q2, $q);
		return sprintf 'property.rescan(%s, ARRAY[%s], %s, true)', "'t'", join(', ', @qs), pick(1, 5, 100, 5000);
	}
	my $meanwhile = modify_in_one($t);
	return sprintf 'property.held_open(%s, %s, %s, %s)', "'t'", literal($q), pick(0, 1, 5, 50), literal($meanwhile);
}

# A change without COPY, which a function cannot run.
sub modify_in_one
{
	my ($t) = @_;
	my $sql = pick(insert_singly($t, 5), "DELETE FROM t WHERE " . some_rows($t),
		"UPDATE t SET code = ~code WHERE " . some_rows($t));
	return $sql . (chance(0.4) ? ";SELECT mih_flush('mih_index')" : '') =~ s/;\n*;/;/r;
}

sub check
{
	my ($t) = @_;
	$t->{checks}++;
	return "SELECT property.checked('mih_index');\n";
}

# An index that lacks one row of its table and does not say so: it is made as a
# partial index without that row, then the catalogue forgets the condition.
sub hide_one_row
{
	my ($t) = @_;
	my $id = 1 + int rand $t->{rows};
	return "DROP INDEX mih_index;\nCREATE INDEX mih_index ON t USING mih (code)$t->{options} WHERE id <> $id;\n"
	  . "SET allow_system_table_mods = on;\n"
	  . "UPDATE pg_catalog.pg_index SET indpred = NULL WHERE indexrelid = 'mih_index'::regclass;\n";
}

# Damaged index files: a query, an INSERT, a VACUUM or mih_check may fail with an
# error that names the index, or not notice; none may crash or hang the server,
# and REINDEX makes all well.  Dozens of indexes are damaged at once, each in
# another way, behind the back of a stopped server.
#
#   DEEPHASH_SEED=1   what the random damage is drawn from
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Test::More;

my $seed = seed();
srand($seed);
diag("seed $seed");

# Offsets on a page of src/mih/mih.h, which says what they mean.
my $block = 8192;
my $tail = $block - 16;
my %kind = (META => 1, FREE => 2, LIST => 3, ROOT => 4, DIRECTORY => 5, ENTRIES => 6, REFERENCES => 7);
my %tail_at = (part => 0, next => 4, ncodes => 8, ntids => 10, kind => 12, flags => 13, page_id => 14);
my ($meta_parts, $part_size, $parts) = (24 + 288, 40, 96);

# Each: its name, the kind of page, the change.  Codes and TIDs that changed must
# be found by mih_check (1), and what a query would take forever over by that (2);
# other damage may lie where nobody looks.
my @damage;
for my $name (sort keys %kind)
{
	next if $name eq 'FREE';
	push @damage,
	  [ "$name: lower end", $name, sub { poke16($_[0], 12, 20) } ],
	  [ "$name: upper end", $name, sub { poke16($_[0], 14, 8000) } ],
	  [ "$name: part", $name, sub { poke32($_[0], $tail + $tail_at{part}, 77777) } ],
	  [ "$name: next is none", $name, sub { poke32($_[0], $tail + $tail_at{next}, 0xffffffff) } ],
	  [ "$name: next is the metapage", $name, sub { poke32($_[0], $tail + $tail_at{next}, 0) } ],
	  [ "$name: next is far", $name, sub { poke32($_[0], $tail + $tail_at{next}, 4000000) } ],
	  [ "$name: next is itself", $name, sub { poke32($_[0], $tail + $tail_at{next}, $_[1]) } ],
	  [ "$name: no codes", $name, sub { poke16($_[0], $tail + $tail_at{ncodes}, 0) } ],
	  [ "$name: many codes", $name, sub { poke16($_[0], $tail + $tail_at{ncodes}, 65535) } ],
	  [ "$name: many TIDs", $name, sub { poke16($_[0], $tail + $tail_at{ntids}, 65535) } ],
	  [ "$name: flags", $name, sub { poke8($_[0], $tail + $tail_at{flags}, peek8($_[0], $tail + $tail_at{flags}) ^ 1) } ],
	  [ "$name: identity", $name, sub { poke16($_[0], $tail + $tail_at{page_id}, 0) } ],
	  [ "$name: zeroed", $name, sub { $_[0] = "\0" x $block } ],
	  [ "$name: noise", $name, sub { substr($_[0], 24, $block - 24) = join '', map { chr rand 256 } 1 .. $block - 24 } ],
	  [ "$name: noise between the headers", $name, sub { substr($_[0], 24, $tail - 24) = join '', map { chr rand 256 } 1 .. $tail - 24 } ],
	  map { my $k = $_; [ "$name: is of kind $k", $name, sub { poke8($_[0], $tail + $tail_at{kind}, $k) } ] } 2, 3, 6;
}
push @damage,
  (map { my $v = $_; [ "bits are $v", 'META', sub { poke16($_[0], 32, $v) } ] } 0, 1, 63, 65, 4096, 65535),
  [ 'next id is 0', 'META', sub { poke32($_[0], 36, 0) } ],
  [ 'version', 'META', sub { poke32($_[0], 28, 99) } ];
for my $field ([ kind => 4, 2, 0, 1, 2, 3, 4, 5, 6, 7, 65535 ], [ tables => 6, 2, 0, 1, 2, 16, 65535 ], [ head => 8, 4, 0, 1, 4000000, 0xffffffff ],
	[ tail => 12, 4, 0, 1, 4000000, 0xffffffff ], [ pages => 16, 4, 0, 1, 0xffffffff ], [ entries => 24, 4, 0, 0xffffffff ])
{
	my ($name, $at, $width, @values) = @$field;
	for my $value (@values)
	{
		push @damage, [ "$name of every part is $value", 'META', sub {
			for my $p (0 .. $parts - 1)
			{
				my $from = $meta_parts + $p * $part_size;
				next unless unpack('v', substr $_[0], $from + 4, 2);
				$width == 2 ? poke16($_[0], $from + $at, $value) : poke32($_[0], $from + $at, $value);
			}
		} ];
	}
}
# The root: nentries, ntables, order, nrefs, -, refs, npages[16], dir[16], layout (nbits, nchunks, nperm, start[17], perm).
for my $at (32, 34, 36, 40, 44, 48, 108, 112, 116, 172, 174, 176, 178, 180, 182, 212, 214)
{
	push @damage, map { my $v = $_; [ "root at $at is $v", 'ROOT', sub { poke16($_[0], $at, $v) } ] } 0, 65535;
}
push @damage,
  [ 'root: table without directory', 'ROOT', sub { poke32($_[0], 108, 0xffffffff) } ],
  [ 'directory to no block', 'DIRECTORY', sub { poke32($_[0], 24 + 8, 0xffffffff) } ],
  [ 'directory to the metapage', 'DIRECTORY', sub { poke32($_[0], 24 + 8, 0) } ],
  [ 'directory far out', 'DIRECTORY', sub { poke32($_[0], 24 + 8, 4000000) } ],
  [ 'directory to all pages from every key', 'DIRECTORY',
	sub { for my $i (0 .. unpack('v', substr $_[0], $tail + 8, 2) - 1) { poke32($_[0], 24 + 12 * $i, 0); poke32($_[0], 28 + 12 * $i, 0xffffffff) } }, 2 ],
  [ 'root: more pages than there are', 'ROOT', sub { poke32($_[0], 48, 0xfffffff0) }, 2 ],
  [ 'references in a circle', 'REFERENCES', sub { poke32($_[0], $tail + $tail_at{next}, $_[1]) }, 2 ],
  [ 'directory to the wrong keys', 'DIRECTORY', sub { poke32($_[0], 24, 0xfffffff0); poke32($_[0], 28, 0xfffffff1) }, 1 ],
  [ 'TID of no block', 'ENTRIES', sub { substr($_[0], $tail - 6, 6) = "\xff" x 4 . "\1\0" }, 1 ],
  [ 'TID of no row', 'ENTRIES', sub { substr($_[0], $tail - 6, 6) = "\0" x 6 }, 1 ],
  [ 'TID of a far block', 'ENTRIES', sub { substr($_[0], $tail - 6, 6) = pack 'vvv', 1, 0, 1 }, 1 ],
  [ 'NULL of no block', 'NULLS', sub { substr($_[0], $tail - 6, 6) = "\xff" x 4 . "\1\0" }, 1 ],
  [ 'pending TID of no block', 'LIST', sub { substr($_[0], $tail - 6, 6) = "\xff" x 4 . "\1\0" }, 1 ],
  (map { [ 'a bit of a code', 'ENTRIES', sub { my $at = 64 + int rand 100; poke8($_[0], $at, peek8($_[0], $at) ^ 1 << rand 8) }, 1 ] } 1 .. 5),
  (map { my ($at, $v) = @$_; [ "root of references at $at is $v", 'ROOT', sub { poke16($_[0], $at, $v) } ] }
	  [ 34, 0 ], [ 34, 2 ], [ 36, 0 ], [ 36, 1 ], [ 36, 257 ], [ 40, 0 ], [ 42, 4000 ]),
  [ 'least distance to a reference', 'REFERENCES', sub { poke16($_[0], 24, 65535) }, 1 ],
  [ 'greatest distance to a reference', 'REFERENCES', sub { poke16($_[0], 26, 0) }, 1 ],
  [ 'ENTRIES: a code in a cell of references', 'ENTRIES', sub { poke8($_[0], 64, peek8($_[0], 64) ^ 255) }, 1 ],
  (map { [ 'a bit of a reference', 'REFERENCES', sub { my $at = 28 + int rand 8; poke8($_[0], $at, peek8($_[0], $at) ^ 1 << rand 8) }, 1 ] } 1 .. 3),
  (map { [ 'a bit of a pending code', 'LIST', sub { my $at = 64 + int rand 100; poke8($_[0], $at, peek8($_[0], $at) ^ 1 << rand 8) }, 1 ] } 1 .. 3);

my $server = new_server('damage', conf => "autovacuum = off\nstatement_timeout = 30s\njit = off\nlog_statement = none\n");
$server->safe_psql('postgres', <<'SQL');
CREATE FUNCTION draw(i bigint) RETURNS hashcode LANGUAGE sql IMMUTABLE AS $$ SELECT hashcode(hashtextextended(i::text, 0)) $$;
CREATE TABLE template AS SELECT i AS id, CASE WHEN i % 10 = 0 THEN NULL WHEN i % 3 = 0 THEN draw(i % 7) ELSE draw(i) END AS code FROM generate_series(1, 1500) i;
SQL
$server->safe_psql('postgres', join '', map { <<SQL } 0 .. $#damage);
CREATE TABLE d$_ AS TABLE template;
CREATE INDEX mih_d$_ ON d$_ USING mih (code) WITH (@{[ $damage[$_][0] =~ /reference/i ? 'layout = references' : 'chunks = 3' ]});
INSERT INTO d$_ SELECT -i, draw(-i) FROM generate_series(1, 400) i;
SQL
my @file = map { $server->data_dir . "/$_" } split /\n/,
  $server->safe_psql('postgres', join '', map { "SELECT pg_relation_filepath('mih_d$_');\n" } 0 .. $#damage);
$server->stop;
my $done = 0;
$done += damage($file[$_], @{ $damage[$_] }[1, 2]) for 0 .. $#damage;
is($done, scalar @damage, "$done indexes are damaged");
$server->start;

my $q = "'0f0f0f0f0f0f0f0f'";
my $script = "\\set VERBOSITY sqlstate\nSET enable_seqscan = off; SET enable_sort = off;\n" . join '', map { <<SQL } 0 .. $#damage;
\\warn damage $_
SELECT count(*) FROM (SELECT FROM d$_ ORDER BY code <~> $q OFFSET 0) s;
SELECT id FROM d$_ ORDER BY code <~> $q LIMIT 5;
SELECT id FROM d$_ WHERE code <@ hashball($q, 20) ORDER BY code <~> $q;
SET enable_indexscan = off;
SELECT count(*) FROM d$_ WHERE code <@ hashball($q, 9);
SELECT count(*) FROM d$_ WHERE code <@ hashball($q, 40);
SET enable_indexscan = on;
SELECT count(id) FROM d$_ WHERE code IS NULL;
SELECT rows FROM mih_stats('mih_d$_');
SELECT kind FROM mih_parts('mih_d$_');
\\warn check $_
SELECT mih_check('mih_d$_');
\\warn writes $_
INSERT INTO d$_ SELECT -1000 - i, draw(-i) FROM generate_series(1, 300) i;
INSERT INTO d$_ SELECT -2000 - i FROM generate_series(1, 1500) i;
DELETE FROM d$_ WHERE id % 3 = 0;
VACUUM d$_;
SELECT mih_flush('mih_d$_') > 0;
VACUUM d$_;
SELECT id FROM d$_ ORDER BY code <~> $q LIMIT 5;
\\warn rebuilt $_
REINDEX INDEX mih_d$_;
SELECT mih_check('mih_d$_');
SELECT 1 / (SELECT count(*) FROM (SELECT FROM d$_ ORDER BY code <~> $q OFFSET 0) s) / ((SELECT count(*) FROM d$_ WHERE id IS NOT NULL) = (SELECT count(*) FROM (SELECT FROM d$_ ORDER BY code <~> $q OFFSET 0) s))::int;
SQL
my ($status, $out, $err) = $server->psql('postgres', $script, on_error_stop => 0, on_error_die => 0, timeout => 600);
is($status, 0, 'the session lives to the end');
my (%codes, $at, $step, %found, %stopped, @strange, @unhealed);
for my $line (split /\n/, $err)
{
	if ($line =~ /^(damage|check|writes|rebuilt) (\d+)$/) { ($step, $at) = ($1, $2); next }
	next unless $line =~ /(?:ERROR|FATAL|PANIC):\s+(\S+)/;
	my $code = $1;
	$codes{$code}++;
	$found{$at} = 1 if $step eq 'check';
	$stopped{$at} = 1 if $step eq 'damage';
	push @strange, "$damage[$at][0]: $code in $step" unless $code =~ /^(XX00[12]|0A000|22026)$/;
	push @unhealed, "$damage[$at][0]: $code" if $step eq 'rebuilt';
}
is("@strange", '', 'errors are of the right kind') or diag(join "\n", @strange);
is("@unhealed", '', 'REINDEX heals every index') or diag(join "\n", @unhealed);
note(join ', ', map { "$codes{$_} of $_" } sort keys %codes);
my @unnoticed = map { $damage[$_][0] } grep { $damage[$_][3] && !$found{$_} } 0 .. $#damage;
is("@unnoticed", '', 'mih_check finds changed codes and TIDs') or diag(join "\n", @unnoticed);
my @endless = map { $damage[$_][0] } grep { ($damage[$_][3] // 0) == 2 && !$stopped{$_} } 0 .. $#damage;
is("@endless", '', 'queries find what they would not come to an end of') or diag(join "\n", @endless);
note(scalar(keys %found) . ' of ' . @damage . ' kinds of damage found by mih_check');
unlike(server_log($server), qr/PANIC|TRAP:|was terminated by signal/, 'no crash in the log');
is($server->safe_psql('postgres', "SELECT pg_relation_size('d0') < 4000000"), 't', 'no table grew');
$server->stop;
done_testing();

sub poke8 { substr($_[0], $_[1], 1) = chr $_[2] }
sub poke16 { substr($_[0], $_[1], 2) = pack 'v', $_[2] }
sub poke32 { substr($_[0], $_[1], 4) = pack 'V', $_[2] }
sub peek8 { return ord substr $_[0], $_[1], 1 }

# Change one page of the kind; NULLS means a list page without codes.
sub damage
{
	my ($path, $name, $change) = @_;
	open my $f, '+<:raw', $path or die "cannot open $path: $!";
	local $/;
	my $bytes = <$f>;
	my $want = $kind{ $name eq 'NULLS' ? 'LIST' : $name };
	for my $n (0 .. length($bytes) / $block - 1)
	{
		my $page = substr $bytes, $n * $block, $block;
		my ($codes, $tids, $is) = unpack 'vvC', substr $page, $tail + 8, 5;
		next if $is != $want || $is == $kind{LIST} && ($name eq 'NULLS') != ($codes == 0);
		$change->($page, $n);
		seek $f, $n * $block, 0;
		print $f $page;
		close $f or die "cannot write $path: $!";
		return 1;
	}
	die "no page of kind $name in $path";
}

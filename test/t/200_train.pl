# deephash-train from the command line: draw pictures, train, stop, go on, judge,
# encode, inspect; and what it says when it is asked for nonsense.
use strict;
use warnings;
use FindBin;
use File::Temp qw(tempdir);
use IPC::Run qw(run start finish timeout);
use Test::More;
use Time::HiRes qw(sleep time);

my $program = "$FindBin::RealBin/../../build/bin/deephash-train";
my $dir = tempdir(CLEANUP => 1);

sub train_tool
{
	my ($out, $err);

	run([ $program, @_ ], '<', \undef, '>', \$out, '2>', \$err, timeout(900));
	return ($? >> 8, $out, $err);
}

sub slurp
{
	open my $f, '<', $_[0] or die "$_[0]: $!";
	local $/;
	return scalar <$f>;
}

my @small = ('--width', '8,16,16', '--size', 24, '--bits', 32, '--batch', 32,
	'--threads', 2, '--seed', 7);
my ($status, $out, $err);

($status, $out, $err) = train_tool('synth', '--classes', 4, '--per-class', 100, '--size', 32,
	'--seed', 3, "$dir/pictures");
is($status, 0, 'synth draws pictures') or diag($err);
my @train = ('train', '--data', "folder:$dir/pictures", @small, '--epochs', 30);

# ------------------------------------------------------------ train, stop, go on
($status, $out, $err) = train_tool(@train, '--out', "$dir/whole", '--validate', 10);
is($status, 0, 'a run goes through') or diag($err);
is(scalar(() = $err =~ /^epoch (?:10|20|30): mAP 0\.\d+ on a sample/mg), 3,
	'mAP is shown every ten epochs');
like($out, qr/^protocol +split$/m, 'a folder is judged by held-out pictures');
like($out, qr/^mAP\@all +0\.\d+/m, 'mAP is printed');
my ($map) = $out =~ /^mAP\@all +([\d.]+)/m;
ok($map > 0.4, "it has learned something: mAP $map where chance gives 0.25");
ok(!-e "$dir/whole.checkpoint", 'no checkpoint is left after success');

($status, $out, $err) = train_tool(@train, '--out', "$dir/parts", '--stop-after', 117);
is($status, 1, 'a run stopped half-way says so by its status');
like($err, qr/--resume/, 'and how to go on');
ok(!-e "$dir/parts", 'no model yet');
($status, $out, $err) =
  train_tool('train', '--resume', "$dir/parts.checkpoint", '--out', "$dir/parts");
is($status, 0, 'it goes on') or diag($err);

my @encode = ('encode', '--data', "folder:$dir/pictures", '--labels', '--model');
my ($codes_whole, $codes_parts);
($status, $codes_whole, $err) = train_tool(@encode, "$dir/whole");
is($status, 0, 'encode') or diag($err);
($status, $codes_parts, $err) = train_tool(@encode, "$dir/parts");
is($codes_parts, $codes_whole, 'the resumed run ends in the same network, bit for bit');
is(scalar(() = $codes_whole =~ /^[^\t]+\t[0-9a-f]{8}\t[a-z0-9_-]+$/mg), 400,
	'one line of name, code and label per picture');

# Who prepares the pictures, from where, and when it stops, cannot be seen in the result
my @lively = (@train[ 0 .. $#train - 1 ], 4, '--size', 32, '--set', 'augment.crop=0.4', '--set',
	'augment.random-ops=2', '--set', 'augment.mixup=0.3', '--set', 'data.resize=36');
($status, $out, $err) = train_tool(@lively, '--out', "$dir/lively");
is($status, 0, 'a run with lively augmentation') or diag($err);
like($err, qr/waiting \d+\.\d%.*^\d+\.\d% of the time was spent waiting for pictures$/ms,
	'the share of waiting is shown');
($status, $out, $err) = train_tool(@lively, '--out', "$dir/lively2", '--stop-after', 17, '--set',
	'data.workers=3', '--set', 'data.cache=1');
is($status, 1, 'stopped, with workers and pictures from disk') or diag($err);
($status, $out, $err) = train_tool('train', '--resume', "$dir/lively2.checkpoint", '--out',
	"$dir/lively2", '--set', 'data.workers=1');
is($status, 0, 'goes on with other workers') or diag($err);
($status, $codes_parts, $err) = train_tool(@encode, "$dir/lively2");
($status, $out, $err) = train_tool(@encode, "$dir/lively");
is($codes_parts, $out, 'and ends in the same network, bit for bit');

# A picture that goes away: the run ends with its name and leaves a checkpoint
system('cp', '-r', "$dir/pictures", "$dir/leaving") == 0 or die;
my $log2 = '';
my $leaving = start([ $program, 'train', '--data', "folder:$dir/leaving", @small, '--epochs', 3000,
	'--size', 48, '--set', 'data.cache=1', '--set', 'data.workers=2', '--out', "$dir/gone" ],
	'<', \undef, '>', \my $ignored2, '2>', \$log2, timeout(900));
my $until = time + 600;
while ($log2 !~ /steps;/ && time < $until) { $leaving->pump_nb; sleep 0.05; }
sleep 1;
system('rm', '-rf', "$dir/leaving") == 0 or die;
finish($leaving);
is($leaving->result(0), 1, 'a run whose pictures go away ends with status 1');
like($log2, qr/\.jpg could be read when the run began, but no longer: cannot open/,
	'says which') or diag($log2);
ok(-s "$dir/gone.checkpoint", 'and leaves a checkpoint');

# An interrupt, in the middle of a run that would take long
my $log = '';
my $long = start([ $program, @train[ 0 .. $#train - 1 ], 5000, '--out', "$dir/long" ],
	'<', \undef, '>', \my $ignored, '2>', \$log, timeout(900));
my $end = time + 600;
while ($log !~ /steps;/ && time < $end) { $long->pump_nb; sleep 0.05; }
sleep 0.5;
$long->signal('INT');
finish($long);
is($long->result(0), 1, 'an interrupted run ends with status 1');
like($log, qr/stopped; go on with/, 'it says that it stopped') or diag($log);
ok(-s "$dir/long.checkpoint", 'and leaves a checkpoint');

# --------------------------------------------------------------- judge and inspect
($status, $out, $err) =
  train_tool('eval', '--model', "$dir/whole", '--data', "folder:$dir/pictures");
is($status, 0, 'eval') or diag($err);
like($out, qr/^mAP\@all +\Q$map\E /m, 'eval finds the number that train printed');
like($out, qr/^P\@10 /m, 'P@10');
like($out, qr/^1-NN /m, '1-NN');
($status, $out, $err) = train_tool('inspect', '--json', "$dir/whole");
is($status, 0, 'inspect') or diag($err);
like($out, qr/"bits": 32/, 'inspect shows the length');
like($out, qr/"data\.source": "folder:pictures"/, 'the model tells no path of this machine');
unlike($out, qr/\Q$dir\E/, 'nowhere');
($status, $out, $err) = train_tool('inspect', "$dir/whole");
like($out, qr/block1\.conv1/, 'inspect lists the layers');

# Codes from files: worked by hand.  Distances 0 (cat), 1 (cat) and 1 (dog), 8 (cat):
# the two at distance 1 come in either order, so AP is the mean of
# (1/1 + 2/2 + 3/4) / 3 and (1/1 + 2/3 + 3/4) / 3.
open my $f, '>', "$dir/q.tsv" or die;
print $f "a\tf0\tcat\n";
close $f;
open $f, '>', "$dir/d.tsv" or die;
print $f "p\tf0\tcat\nq\tf1\tcat\nr\tf8\tdog\ns\t0f\tcat\n";
close $f;
($status, $out, $err) =
  train_tool('eval', '--query-codes', "$dir/q.tsv", '--database-codes', "$dir/d.tsv");
is($status, 0, 'eval of codes') or diag($err);
like($out, qr/^mAP\@all +0\.861111 /m, 'mAP worked by hand, ties in the mean');

# ------------------------------------------------------------------------ single files
my ($jpeg) = glob "$dir/pictures/*/*.jpg";
open $f, '>', "$dir/no\tpicture.jpg" or die;
print $f 'this is text';
close $f;
($status, $out, $err) =
  train_tool('encode', '--model', "$dir/whole", "$dir/no\tpicture.jpg", $jpeg);
is($status, 1, 'a file that is no picture shows in the status');
like($err, qr/skipped .*picture\.jpg/s, 'is named');
my ($code) = $out =~ /\t([0-9a-f]{8})$/m;
ok($codes_whole =~ /\t$code\t/, 'the others are encoded, as in a data set');

# ------------------------------------------------------------------ time and the disk
($status, $out, $err) = train_tool('train', '--data', "folder:$dir/pictures", @small,
	'--minutes', '0.05', '--out', "$dir/quick");
is($status, 0, 'a run by time goes through') or diag($err);
like($err, qr/epochs? .*0\.05 minutes/, 'and says what was chosen');

SKIP: {
	skip 'no /dev/full', 2 unless -c '/dev/full';
	run([ 'sh', '-c', 'exec "$@" >/dev/full', 'sh', $program, 'eval', '--query-codes',
		"$dir/q.tsv", '--database-codes', "$dir/d.tsv" ], '<', \undef, '2>', \$err);
	is($? >> 8, 1, 'a result that cannot be written shows in the status');
	like($err, qr/cannot write the result/, 'and is explained');
}

open $f, '>', "$dir/four.tsv" or die;
print $f "a\tf0\tcat\tdog\n";
close $f;
mkdir "$dir/commas" or die;
for my $class ('cats,dogs', 'birds')
{
	mkdir "$dir/commas/$class" or die;
	link $jpeg, "$dir/commas/$class/1.jpg" or die;
}

# -------------------------------------------------------------------------- recipes
($status, $out, $err) = train_tool('recipes');
is($status, 0, 'recipes lists the shipped ones') or diag($err);
like($out, qr/^cpu-30min +\S/m, 'with a line for each');
($status, $out, $err) = train_tool('recipes', 'cpu-30min');
like($out, qr/^\[recipe\]$/m, 'recipes NAME prints one');
($status, $out, $err) = train_tool('recipes', '--keys');
like($out, qr/^\[optimiser\]\n.*^  rate \(--rate\)$/ms, 'recipes --keys lists the keys');
open $f, '>', "$dir/wrong.ini" or die;
print $f "[optimiser]\nkind = sgd\nrate = fast\n";
close $f;
open $f, '>', "$dir/nowhere.ini" or die;
print $f "[data]\nsource = folder:/nonexistent\n";
close $f;
open $f, '>', "$dir/shape.ini" or die;
print $f "[data]\nsize = 224\n[network]\narch = vit-ti patch=15\n[train]\nepochs = 1\n";
close $f;
open $f, '>', "$dir/own.ini" or die;
print $f "[recipe]\nabout = small\n[network]\nchannels = 8,16,16\nbits = 32\n[data]\nsize = 24\n",
  "[train]\nbatch = 32\nepochs = 30\nseed = 7\n";
close $f;
($status, $out, $err) = train_tool('train', '--recipe', "$dir/own.ini", '--data',
	"folder:$dir/pictures", '--out', "$dir/by_recipe", '--threads', 2);
is($status, 0, 'a run by a recipe') or diag($err);
($status, $out, $err) = train_tool(@encode, "$dir/by_recipe");
is($out, $codes_whole, 'ends in the network that the same options give');

# ------------------------------------------------------------------------- nonsense
for my $case (
	[ [], 2, qr/Usage/ ],
	[ ['bake'], 2, qr/unknown command "bake"/ ],
	[ [ 'train', '--out', "$dir/x" ], 2, qr/--data is missing/ ],
	[ [ 'train', '--data', "folder:$dir/pictures" ], 2, qr/--out is missing/ ],
	[ [ @train, '--out', "$dir/x", '--bits', '0' ], 2, qr/--bits cannot be "0"/ ],
	[ [ @train, '--out', "$dir/x", '--bits', '64k' ], 2, qr/--bits cannot be "64k"/ ],
	[ [ @train, '--out', "$dir/x", '--loss', 'none' ], 2, qr/--loss cannot be "none"/ ],
	[ [ @train, '--out', "$dir/x", '--seed', '18446744073709551616' ], 2, qr/--seed cannot be/ ],
	[ [ @train, '--out', "$dir/x", '--rate', 'nan' ], 2, qr/--rate cannot be "nan"/ ],
	[ [ @train, '--out', "$dir/x", '--checkpoint', "$dir/x" ], 2, qr/are one file/ ],
	[ [ @train, '--out', "$dir/missing/x" ], 1, qr/cannot write/ ],
	[ [ 'train', '--data', 'folder:/nonexistent', '--out', "$dir/x" ], 1, qr/nonexistent/ ],
	[ [ 'train', '--data', 'stork', '--out', "$dir/x" ], 1, qr/describes no data set/ ],
	[ [ 'train', '--resume', "$dir/whole", '--out', "$dir/x" ], 1, qr/not a checkpoint/ ],
	[ [ 'train', '--resume', "$dir/long.checkpoint", '--out', "$dir/x", '--bits', 8 ], 2,
		qr/--bits cannot change/ ],
	[ [ 'eval', '--model', "$dir/q.tsv", '--data', "folder:$dir/pictures" ], 1, qr/q\.tsv|model|safetensors/ ],
	[ [ 'eval', '--model', "$dir/whole" ], 2, qr/--data/ ],
	[ [ 'eval', '--model', "$dir/whole", '--data', "folder:$dir/pictures", '--protocol', 'P99' ],
		1, qr/P99/ ],
	[ [ 'eval', '--query-codes', "$dir/whole", '--database-codes', "$dir/d.tsv" ], 1, qr/line 1/ ],
	[ [ 'eval', '--query-codes', "$dir/four.tsv", '--database-codes', "$dir/d.tsv" ], 1,
		qr/expected three columns/ ],
	[ [ 'encode', '--model', "$dir/whole", '--labels', '--data', "folder:$dir/commas" ], 1,
		qr/class "cats,dogs" has one in its name/ ],
	[ [ 'encode', '--model', "$dir/whole" ], 2, qr/either files or --data/ ],
	[ [ 'inspect', "$dir/long.checkpoint" ], 1, qr/./ ],
	[ ['synth'], 2, qr/one folder/ ],
	[ [ 'synth', '--classes', '99', "$dir/x" ], 2, qr/--classes cannot be "99": it must be a whole number/ ],
	[ [ @train, '--out', "$dir/x", '--threads', '0' ], 2,
		qr/--threads cannot be "0": it must be a whole number from 1 to 1024/ ],
	[ [ 'train', '--recipe', "$dir/nowhere.ini", '--out', "$dir/x" ], 1,
		qr/nonexistent.* \(data\.source is set in \S+nowhere\.ini:2\)/ ],
	[ [ 'train', '--recipe', "$dir/shape.ini", '--data', "folder:$dir/pictures", '--out', "$dir/x" ],
		1, qr/multiple of patch \(network\.arch is set in \S+shape\.ini:4\)/ ],
	[ [ @train, '--out', "$dir/x", '--set', 'network.pretrained=/nonexistent.safetensors' ], 1,
		qr/network\.pretrained: .*No such file/ ],
	[ [ @train, '--out', "$dir/x", '--recipe', 'cpu-30mim' ], 2, qr/did you mean cpu-30min\?/ ],
	[ [ @train, '--out', "$dir/x", '--recipe', "$dir/wrong.ini" ], 2,
		qr/wrong\.ini:3: \[optimiser\] rate cannot be "fast": it must be a number from/ ],
	[ [ @train, '--out', "$dir/x", '--set', 'optimiser.rat=1' ], 2, qr/did you mean rate in/ ],
	[ [ 'train', '--resume', "$dir/long.checkpoint", '--out', "$dir/x", '--recipe', 'cpu-30min' ],
		2, qr/cannot change in a resumed run/ ],
	[ [ 'recipes', '--check', "$dir/wrong.ini" ], 1, qr/wrong\.ini:3/ ])
{
	my ($arguments, $want, $message) = @$case;

	($status, $out, $err) = train_tool(@$arguments);
	my $name = join ' ', map { s/\Q$dir\E/DIR/r } @$arguments;
	is($status, $want, "status of: $name");
	like($err, $message, "message of: $name");
}
for my $command (qw(train recipes eval encode inspect synth sheet images))
{
	($status, $out, $err) = train_tool($command, '--help');
	is($status, 0, "$command --help");
	like($out, qr/Usage: deephash-train $command/, "$command --help shows the usage");
}
done_testing();

# Whatever ends a run of deephash-train - signals, kill -9 at any moment, a full disk - it
# leaves a whole checkpoint, from which it goes on to the same weights, bit for bit.
use strict;
use warnings;
use FindBin;
use File::Temp qw(tempdir);
use IPC::Run qw(run start finish timeout);
use Test::More;
use Time::HiRes qw(sleep time);

my $program = "$FindBin::RealBin/../../build/bin/deephash-train";
my $dir = tempdir(CLEANUP => 1);
my ($status, $out, $err);

sub train_tool
{
	run([ $program, @_ ], '<', \undef, '>', \$out, '2>', \$err, timeout(900));
	return $? >> 8;
}

# The tensors of a model file, without its metadata, which tell the time of day.
sub weights
{
	open my $f, '<:raw', $_[0] or return "cannot open $_[0]";
	local $/;
	my $file = <$f>;
	return substr($file, 8 + unpack('Q<', $file));
}

# Run until the log says something; the handle of IPC::Run
sub start_until
{
	my ($log, $what, @arguments) = @_;
	my $run = start([ $program, @arguments ], '<', \undef, '>', \my $ignored, '2>', $log,
		timeout(900));
	my $end = time + 600;
	while ($$log !~ $what && $run->pumpable && time < $end) { $run->pump_nb; sleep 0.02; }
	return $run;
}

is(train_tool('synth', '--classes', 4, '--per-class', 60, '--size', 32, '--seed', 5,
		"$dir/pictures"), 0, 'pictures') or diag($err);
my @train = ('train', '--data', "folder:$dir/pictures", '--protocol', 'none', '--width', '8,16,16',
	'--size', 24, '--bits', 32, '--batch', 32, '--threads', 2, '--seed', 7, '--epochs', 120,
	'--optimiser', 'adamw', '--average', 'ema', '--set', 'schedule.kind=cosine', '--set',
	'optimiser.clip=1', '--set', 'augment.mixup=0.2', '--set', 'train.accumulate=2');

is(train_tool(@train, '--out', "$dir/whole"), 0, 'an undisturbed run') or diag($err);
like($err, qr/; cpu, 2 threads, \d+ MB for a step$/m, 'it says where it trains and in how much memory');
my $whole = weights("$dir/whole");

# ------------------------------------------------------------------ signals and kills
my @often = ('--checkpoint-every', '0.001', '--out', "$dir/model");
my $seed = $ENV{DEEPHASH_SEED} || 1;
srand($seed);
diag("DEEPHASH_SEED=$seed");
my %ended;
my $rounds;
# A machine that holds up this program lets the other one finish: then once more.
for my $try (1 .. 10)
{
	my @start = @train;

	unlink "$dir/model";
	for ($rounds = 0; $rounds < 40 && !-e "$dir/model"; $rounds++)
	{
		my $signal = (qw(KILL TERM KILL INT KILL HUP))[ $rounds % 6 ];
		my $log = '';
		my $run = start_until(\$log, qr/steps;/, @start, @often);

		sleep(0.05 + rand(0.25));
		# what has been written so far is whole at any moment
		$run->signal($signal);
		eval { finish($run) };
		$ended{$signal}++;
		if ($signal ne 'KILL' && !-e "$dir/model")
		{
			like($log, qr/stopped; go on with/, "$signal: stopped") or diag($log);
		}
		@start = ('train', '--resume', "$dir/model.checkpoint") if -e "$dir/model.checkpoint";
		unlike($log, qr/damaged|not a checkpoint|cannot/, "round $rounds: nothing is damaged") or diag($log);
	}
	if (!-e "$dir/model")
	{
		is(train_tool(@start, '--out', "$dir/model"), 0, 'the rest in one go') or diag($err);
	}
	last if $rounds > 2;
}
diag("$rounds rounds: " . join ', ', map { "$ended{$_} $_" } sort keys %ended);
cmp_ok($rounds, '>', 2, 'it was ended several times');
ok(weights("$dir/model") eq $whole, 'killed and resumed, it ends in the same weights, bit for bit');
ok(!-e "$dir/model.checkpoint", 'and without a checkpoint');

# resuming with less memory is the same run
is(train_tool(@train, '--out', "$dir/less", '--stop-after', 50), 1, 'stopped');
is(train_tool('train', '--resume', "$dir/less.checkpoint", '--out', "$dir/less", '--set',
		'train.recompute=yes'), 0, 'goes on and recomputes') or diag($err);
ok(weights("$dir/less") eq $whole, 'to the same weights');

# ----------------------------------------------------------- asked twice, it ends at once
# Whether a signal waits to be taken by the process.
sub pending
{
	my ($pid, $signal) = @_;
	open my $f, '<', "/proc/$pid/status" or return 0;
	my ($shared) = join('', <$f>) =~ /^ShdPnd:\s+([0-9a-f]+)/m;
	return hex($shared // 0) >> ($signal - 1) & 1;
}

# A step takes long, and the second interrupt comes as soon as the first was taken; but
# the first may come just where a step ends, or the machine stand still between them.
{
	my ($log, $run);

	for my $try (1 .. 10)
	{
		$log = '';
		$run = start_until(\$log, qr/steps;/, @train[ 0 .. 4 ], '--width', '64,176,160', '--size', 96, '--batch', 32,
			'--epochs', 1000, '--bits', 32, '--threads', 1, '--out', "$dir/slow");
		my $pid = $run->{KIDS}[0]{PID};
		$run->signal('INT');
		for (my $end = time + 60; pending($pid, 2) && time < $end;) { sleep 0.001; }
		$run->signal('INT');
		eval { finish($run) };
		last unless $log =~ /stopped/;
	}
	is(($run->full_results)[0] & 127, 2, 'a second interrupt ends the run by the signal') or diag($log);
	unlike($log, qr/stopped/, 'without finishing the step');
}

# ------------------------------------------------------------------------- a full disk
# A limit on the size of files stands for it: checkpoints are too large, the model is not.
sub limited
{
	my $blocks = shift;
	run([ 'bash', '-c', 'ulimit -f ' . $blocks . '; exec "$@"', 'bash', $program, @_ ], '<', \undef,
		'>', \$out, '2>', \$err, timeout(900));
	return $? >> 8;
}

is(train_tool(@train, '--out', "$dir/full", '--stop-after', 40), 1, 'stopped at step 40');
my $size = -s "$dir/full.checkpoint";
cmp_ok($size, '>', 100 * 1024, 'its checkpoint is larger than the limit');
is(limited(100, 'train', '--resume', "$dir/full.checkpoint", '--out', "$dir/full", '--stop-after',
		60), 1, 'no room for the checkpoint of a run that is stopped');
like($err, qr/cannot write checkpoint .*: File too large/, 'is said');
unlike($err, qr/stopped; go on/, 'and not taken for success');
is(-s "$dir/full.checkpoint", $size, 'the checkpoint before is still there');
ok(!-e "$dir/full.checkpoint.tmp", 'and no half one');
is(limited(100, 'train', '--resume', "$dir/full.checkpoint", '--out', "$dir/full",
		'--checkpoint-every', '0.001'), 0, 'a run that cannot write its checkpoints goes through')
  or diag($err);
like($err, qr/warning: cannot write checkpoint/, 'with a warning');
ok(weights("$dir/full") eq $whole, 'to the same weights');
is(limited(10, @train, '--out', "$dir/none", '--epochs', 3), 1, 'no room for the model');
like($err, qr{could not write the model: File too large}, 'is said');
ok(!-e "$dir/none", 'and no half model is left');

# --------------------------------------------------------------------- what cannot be
is(train_tool(@train, '--out', "$dir/nan", '--rate', '1e6', '--optimiser', 'sgd'), 1,
	'a run that leaves the numbers ends');
like($err, qr/step \d+: the (?:output|gradient) of \S+ is not a finite number; try a lower optimiser\.rate/,
	'with the step and the tensor');
is(train_tool(@train, '--out', "$dir/x", '--set', 'train.precision=bf16'), 1, 'bfloat16 on the CPU');
like($err, qr/train\.precision/, 'names the setting');
SKIP: {
	skip 'there is a GPU', 2 if train_tool(@train, '--out', "$dir/x", '--device', 'cuda') == 0;
	like($err, qr/device "cuda"/, 'no GPU: the device is named');
	ok(!-e "$dir/x", 'and nothing written');
}
done_testing();

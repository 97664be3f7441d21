# FailureReport.pm: why a program of tests failed, in few lines, for a reader who
# has nothing but the printed output: the failing tests with their diagnostics, the
# differences that pg_regress found, a sanitizer's report, the ends of the logs.
package FailureReport;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = qw(evidence summary read_lines);

# The lines of a file; none where it cannot be read.
sub read_lines
{
	my ($path) = @_;
	open my $f, '<', $path or return;
	my @lines = <$f>;
	chomp @lines;
	return @lines;
}

# evidence($job, @lines): what there is to see of a failed program that printed
# @lines: ([ title, line...]...).
sub evidence
{
	my ($job, @lines) = @_;
	my @parts = $job->{diffs} ? regress_parts($job, @lines) : program_parts($job, @lines);
	return grep { @$_ > 1 } @parts, map { [ "the end of $_:", bounded_end(40, unrepeated(read_lines($_))) ] } server_logs($job);
}

# summary($shown, $job, @lines): at most about $shown lines that tell the reason best.
sub summary
{
	my ($shown, $job, @lines) = @_;
	my @best;
	if ($job->{diffs})
	{
		# Of each test its first differences, which the others tend to follow from.
		my @files = split_diffs(read_lines($job->{diffs}));
		my $each = @files ? int($shown / @files) - 2 : 0;
		for (@files)
		{
			my ($name, @diff) = @$_;
			push @best, "$name:", bounded($each < 6 ? 6 : $each, grep { !/^(---|\+\+\+) \S*\.out\s/ } @diff);
		}
	}
	else
	{
		@best = (not_ok(@lines), sanitizer(@lines));
		push @best, map { bounded_end(8, grep { !/^(?:#|\[|ok |\s*$)/ } read_lines($_)) } own_logs($job) unless grep { /^not ok/ } @best;
	}
	@best = bounded_end($shown, @lines) unless @best;
	return bounded($shown, @best);
}

# ------------------------------------------------------------------ what is shown

sub regress_parts
{
	my ($job, @lines) = @_;
	my @parts = ([ "the end of $job->{log}:", bounded_end(50, grep { !/^\s*(?:test\s+\S+\s+\.\.\. ok|ok \d+ |SET$|(?:DROP|CREATE|ALTER) \w+$)/ } @lines) ]);
	my $shown = 100;
	for (split_diffs(read_lines($job->{diffs})))
	{
		my ($name, @diff) = @$_;
		push @parts, [ "$job->{diffs}, $name:", bounded($shown, @diff) ];
		last if @parts > 6;
		$shown = 25;
	}
	return @parts;
}

sub program_parts
{
	my ($job, @lines) = @_;
	my @failed = not_ok(@lines);
	# What a program says that dies goes to the log of the server's Perl modules.
	my @own = (grep { /^not ok/ } @failed) ? () : own_logs($job);
	return ([ 'what failed:', bounded(60, @failed) ],
		[ 'the sanitizer:', bounded(50, sanitizer(@lines)) ],
		[ "the end of $job->{log}:", bounded_end(30, grep { !/^ok / } @lines) ],
		map { [ "the end of $_:", bounded_end(20, read_lines($_)) ] } @own);
}

# The tests that failed, each with the diagnostics after it, and what gave up.
sub not_ok
{
	my @found;
	my $open = 0;    # how many lines of diagnostics may still follow
	for (@_)
	{
		if (/^not ok\b(?!.*#\s*(?:TOD[O]|SKIP))/i) { push @found, $_; $open = 20 }
		elsif (/^Bail out!/) { push @found, $_; $open = 5 }
		elsif (/^(ok\b|1\.\.\d)/) { $open = 0 }
		elsif ($open-- > 0) { push @found, $_ }
		elsif (/^# .*(?:exited|died|ended|dubious|Looks like)/i || /\bat \S+ line \d+\.?$/) { push @found, $_ }
	}
	return @found;
}

# From the first word of a sanitizer on.
sub sanitizer
{
	my ($begin) = grep { $_[$_] =~ /Sanitizer|runtime error:/ } 0 .. $#_;
	return defined $begin ? @_[ $begin .. $#_ ] : ();
}

# The parts of regression.diffs, one per test: [ name, line... ].
sub split_diffs
{
	my @files;
	for (@_)
	{
		if (m{^diff .*?(\w+)\.out\s*$}) { push @files, [$1] }
		elsif (@files) { push @{ $files[-1] }, $_ }
	}
	return @files;
}

# The log of the program's own, kept by the server's Perl modules.
sub own_logs
{
	my ($job) = @_;
	return grep { /regress_log_/ && -s } map { glob } @{ $job->{server_logs} || [] };
}

# The logs of the servers that a program had, latest last, three at most.
sub server_logs
{
	my ($job) = @_;
	my @logs = sort { -M $b <=> -M $a } grep { !/regress_log_/ && -s } map { glob } @{ $job->{server_logs} || [] };
	return @logs > 3 ? @logs[ -3 .. -1 ] : @logs;
}

# Without what a line says again: a poll fills a log with one statement.
sub unrepeated
{
	my $last = '';
	return grep {
		my ($said) = /((?:LOG|ERROR):  .*)/;
		my $again = defined $said && $said eq $last;
		$last = $said // '';
		!$again;
	} @_;
}

# -------------------------------------------------------------------- in few lines

sub bounded
{
	my ($n, @lines) = @_;
	return map { shortened($_) } @lines if @lines <= $n;
	return ((map { shortened($_) } @lines[ 0 .. $n - 1 ]), sprintf '... and %d more lines', @lines - $n);
}

sub bounded_end
{
	my ($n, @lines) = @_;
	return map { shortened($_) } @lines > $n ? @lines[ -$n .. -1 ] : @lines;
}

# A code of 4096 bits or a model as text would drown the rest.
sub shortened
{
	my ($line) = @_;
	return length $line > 400 ? substr($line, 0, 400) . ' ...' : $line;
}

1;

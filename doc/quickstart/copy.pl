# copy.pl FOLDER: every picture of a folder of class folders as a line for COPY
# (class, name, jpeg).
use strict;
use warnings;

my ($folder) = @ARGV;
for my $path (sort { $a cmp $b } glob_all($folder))
{
	my ($class, $name) = $path =~ m{([^/]+)/([^/]+)$} or next;
	open my $f, '<:raw', $path or die "cannot read $path: $!\n";
	my $bytes = do { local $/; <$f> } // '';
	print join("\t", escaped($class), escaped($name), '\\\\x' . unpack 'H*', $bytes), "\n"
	  or die "cannot write: $!\n";
}

sub glob_all
{
	my ($top) = @_;
	return map { files("$top/$_") } entries($top);
}

sub files
{
	my ($dir) = @_;
	return grep { -f $_ } map { "$dir/$_" } entries($dir);
}

sub entries
{
	my ($dir) = @_;
	opendir my $d, $dir or return;
	return grep { !/^\./ } readdir $d;
}

# COPY's text format; a name that is not UTF-8 keeps its other bytes as ?.
sub escaped
{
	my ($text) = @_;
	utf8::decode(my $try = $text) or $text =~ s/[^\x20-\x7e]/?/g;
	my %name = ("\t" => 't', "\n" => 'n', "\r" => 'r', '\\' => '\\');
	$text =~ s/([\t\n\r\\])/\\$name{$1}/g;
	return $text;
}

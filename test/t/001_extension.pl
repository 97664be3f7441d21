# The extension is created, dropped and created again, and its library leaves
# the server's start alone when preloaded.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Deephash;
use Test::More;

my $server = new_server('main', conf => "shared_preload_libraries = 'deephash'\n");
is( $server->safe_psql('postgres',
		"SELECT extname FROM pg_extension WHERE extname = 'deephash'"),
	'deephash', 'created with the library preloaded');
$server->safe_psql('postgres', 'DROP EXTENSION deephash CASCADE');
is( $server->safe_psql('postgres',
		"SELECT count(*) FROM pg_proc WHERE proname LIKE 'deephash%' OR proname LIKE 'mih%'"),
	'0', 'dropped without a trace');
$server->safe_psql('postgres', 'CREATE EXTENSION deephash');
$server->restart;
is($server->safe_psql('postgres', "SELECT count(*) FROM pg_extension WHERE extname = 'deephash'"),
	'1', 'created again, server restarted');
unlike(server_log($server), qr/PANIC|TRAP|terminated by signal/, 'the log is clean');
$server->stop;
done_testing();

#!/bin/sh
# regress.sh [-i] TEST...: run pg_regress over sql/TEST.sql against the server
# that with-cluster.sh made, or with -i pg_isolation_regress over
# test/specs/TEST.spec.  Differences end in build/regress or build/isolation.
set -eu
cd "$(dirname "$0")/.."
pgxs=$("${PG_CONFIG:-pg_config}" --pkglibdir)/pgxs/src/test
runner=$pgxs/regress/pg_regress input=. output=build/regress
if [ "$1" = -i ]; then
	runner=$pgxs/isolation/pg_isolation_regress input=test output=build/isolation
	shift
fi
rm -rf "$output"
mkdir -p "$output"
"$runner" --inputdir=$input --outputdir=$output \
	--bindir="$(dirname "$(command -v postgres)")" --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" \
	--dbname=contrib_regression --load-extension=deephash "$@"

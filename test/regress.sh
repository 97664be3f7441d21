#!/bin/sh
# regress.sh TEST...: run pg_regress over sql/TEST.sql against the server that
# with-cluster.sh made.  Differences end in build/regress/regression.diffs.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/regress
pkglibdir=$("${PG_CONFIG:-pg_config}" --pkglibdir)
if ! "$pkglibdir/pgxs/src/test/regress/pg_regress" --inputdir=. --outputdir=build/regress \
	--bindir="$(dirname "$(command -v postgres)")" --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" \
	--dbname=contrib_regression --load-extension=deephash "$@"; then
	cat build/regress/regression.diffs 2>/dev/null | head -200
	exit 1
fi

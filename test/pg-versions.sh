#!/bin/bash
# pg-versions.sh [--download]: compile the extension's C against the headers of
# every PostgreSQL found below /usr/lib/postgresql, with gcc and with clang if it
# is there, warnings counting as errors.  --download also fetches, into
# build/pg-headers, the header packages that Debian has in its other releases
# (13, 17, 18), without installing anything.
set -eu
cd "$(dirname "$0")/.."
headers=()
for config in /usr/lib/postgresql/*/bin/pg_config; do
	[ ! -x "$config" ] || headers+=("$("$config" --includedir-server)")
done

if [ "${1:-}" = --download ]; then
	apt=$PWD/build/pg-headers
	mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	for suite in bullseye trixie sid; do
		echo "deb [signed-by=$keys] http://deb.debian.org/debian $suite main"
	done >"$apt/sources.list"
	get() {
		apt-get -q -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
			-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root "$@"
	}
	get update >/dev/null
	for version in 13 17 18; do
		(cd "$apt" && get download "postgresql-server-dev-$version" >/dev/null && dpkg -x "postgresql-server-dev-${version}"_*.deb .)
	done
fi
for server in build/pg-headers/usr/include/postgresql/*/server; do
	[ ! -d "$server" ] || headers+=("$server")
done

status=0
for server in "${headers[@]}"; do
	version=$(sed -n 's/^#define PG_VERSION "\([^"]*\)".*/\1/p' "$server"/pg_config*.h | head -n 1)
	for compiler in gcc clang; do
		command -v $compiler >/dev/null || continue
		bad=0
		for file in src/*.c src/hashcode/*.c src/mih/*.c src/model/*.c src/encoder/*.c; do
			[ -f "$file" ] || continue
			$compiler -fsyntax-only -std=gnu17 -O2 -Wall -Wextra -Werror -Wno-unused-parameter \
				-Isrc -isystem "$server" -isystem /usr/include/postgresql -D_GNU_SOURCE "$file" || bad=1
		done
		[ $bad = 0 ] && result=ok || { result=FAILED status=1; }
		printf 'PostgreSQL %-12s %-6s %s\n' "$version" $compiler $result
	done
done
exit $status

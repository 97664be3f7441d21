# lib.sh: sourced by the scripts of this folder that start servers.  Needs $top,
# the project's top.
#
# PostgreSQL refuses to run as root, so root hands servers to user postgres,
# who must then be able to read the checkout; one below /root cannot be read.

server_user=${DEEPHASH_SERVER_USER:-postgres}

# pg_config by its full name.  A private tree, which may be first in PATH, has one
# too, but that one speaks of folders below the tree.
for found in $(type -ap "${PG_CONFIG:-pg_config}"); do
	case $found in */build/tree/*) ;; *) PG_CONFIG=$found && break ;; esac
done
: "${PG_CONFIG:=pg_config}"
export PG_CONFIG

# Run a command as the user who owns the servers.
as_server() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" --init-groups -- "$@"
	else
		"$@"
	fi
}

require_server_user() {
	[ "$(id -u)" = 0 ] || return 0
	id "$server_user" >/dev/null 2>&1 || {
		echo "PostgreSQL refuses to run as root and there is no user $server_user: run as an ordinary user, or install the package postgresql (make deps)" >&2
		exit 1
	}
}

# Whether the servers' user can read a file and enter the folders above it.
server_can_read() {
	(cd / && as_server test -r "$1")
}

# checkout_is_open: whether the servers' user can read this checkout and the
# private tree in it, if there is one.
checkout_is_open() {
	local postgres
	postgres=$top/build/tree$("$PG_CONFIG" --bindir)/postgres
	server_can_read "$top/deephash.control" && server_can_read "$top/test/lib.sh" &&
		{ [ ! -e "$postgres" ] || server_can_read "$postgres"; }
}

# copy_checkout DEST: a copy that every user can read, without history and objects.
copy_checkout() {
	mkdir -p "$1"
	chmod 755 "$1"
	(cd "$top" && tar --exclude=./.git --exclude=./build/obj --exclude=./build/asan/obj --exclude=./build/asan/lib \
		--exclude=./build/tap --exclude=./build/pg-headers --exclude=./.quickstart -cf - .) | tar -C "$1" -xf -
	chmod -R a+rX "$1"
}

# run_where_open SCRIPT [ARG...]: nothing when the checkout is open to the
# servers' user; else run SCRIPT (named from the top) in a temporary copy, bring
# the logs back and exit with its status.
run_where_open() {
	require_server_user
	! checkout_is_open || return 0
	[ -z "${DEEPHASH_COPY_OF:-}" ] || {
		echo "user $server_user cannot read $top, which is a copy of $DEEPHASH_COPY_OF already" >&2
		exit 1
	}
	export DEEPHASH_COPY_OF=$top
	echo "user $server_user cannot read $top: testing a copy below /tmp"
	export DEEPHASH_DATA="${DEEPHASH_DATA:-$top/../shared/data}"
	copy=$(mktemp -d /tmp/deephash-checkout.XXXXXX)
	trap 'rm -rf "$copy"' EXIT
	trap 'exit 130' INT TERM
	copy_checkout "$copy"
	script=$1
	shift
	status=0
	(cd "$copy" && "./$script" "$@") || status=$?
	for results in log regress isolation; do
		[ ! -d "$copy/build/$results" ] || { rm -rf "$top/build/$results" && cp -a "$copy/build/$results" "$top/build/"; }
	done
	exit $status
}

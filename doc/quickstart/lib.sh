# lib.sh: the steps of quickstart.sh and quickstart-clean.sh.  Needs $top and
# test/lib.sh.

home=${QUICKSTART:-$top/.quickstart}
port=54320
steps=0
data=${DEEPHASH_DATA:-$top/../shared/data}

bold= plain= dim=
if [ -t 1 ]; then bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m'); fi

say() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
step() {
	steps=$((steps + 1))
	say "$steps. $1"
}
indent() { sed 's/^\(.\)/   \1/'; }
note() { printf '   %s\n' "$1"; }
fail() {
	printf '\nquickstart: %s\n' "$1" >&2
	[ $# -lt 2 ] || printf '            %s\n' "$2" >&2
	failed=1
	exit 1
}

# On the way out of a failed run: where to look.
explain_failure() {
	[ "$1" != 0 ] && [ -z "${failed:-}" ] || return 0
	printf '\nquickstart: step %d failed, see above' "$steps" >&2
	[ ! -s "$home/data/server.log" ] || printf '; the end of the server log:\n%s' "$(tail -n 5 "$home/data/server.log")" >&2
	printf '\n' >&2
}

# quietly LOG COMMAND...: run it, and show its output only if it fails.
quietly() {
	local log
	mkdir -p "$top/build"
	log=$top/build/$1
	shift
	"$@" >"$log" 2>&1 || {
		tail -n 40 "$log" >&2
		fail "\"$*\" failed, its output is in $log"
	}
}

# check_disk DIR MEGABYTES
check_disk() {
	local free
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] || fail "only $free MB are free below $1, $2 MB are needed" \
		"free some space, or name another place: make quickstart QUICKSTART=/some/where"
}

# The servers' user must be able to enter the folder with data, model and
# programs; when the checkout is below a closed folder such as /root, the quick
# start goes to /var/tmp and .quickstart becomes a link to it.
choose_home() {
	tree=$top/build/tree
	if ! checkout_is_open; then
		if [ -z "${QUICKSTART:-}" ]; then
			[ -L "$home" ] || rm -rf "$home"
			[ -e "$home" ] || ln -sfn "$(mktemp -d /var/tmp/deephash-quickstart.XXXXXX)" "$home"
			home=$(readlink "$home")
		fi
		note "user $server_user, who runs the server, cannot enter $top: working in $home"
		mkdir -p "$home"
		chmod 755 "$home"
		tree=$home/tree
		rm -rf "$tree"
		cp -a "$top/build/tree" "$tree"
		chmod -R a+rX "$tree"
	fi
	mkdir -p "$home"
	home=$(cd "$home" && pwd)
	[ -f "$home/.made-by-quickstart" ] || [ "$home" = "$top/.quickstart" ] || [ -z "$(ls -A "$home")" ] || [ "$tree" = "$home/tree" ] ||
		fail "$home has something in it already" "name a new or empty folder"
	: >"$home/.made-by-quickstart" # so that quickstart-clean dares to remove it
	[ "$(id -u)" != 0 ] || server_can_read "$home" ||
		fail "user $server_user, who runs the server, cannot enter $home" "choose a folder that everybody may enter"
	check_disk "$home" 500
	bin=$tree$("${PG_CONFIG:-pg_config}" --bindir)
}

# --------------------------------------------------------------------- pictures

count() { find -L "$1" -type f | wc -l; }

# What pictures and model were made from; another answer makes them anew.
settings() { echo "images=${IMAGES:-} dataset=${DATASET:-} minutes=${MINUTES:-}"; }

get_pictures() {
	if [ -f "$home/settings" ] && [ "$(cat "$home/settings")" = "$(settings)" ] && [ -d "$home/pictures/query" ]; then
		note "those of the last run are kept (make quickstart-clean removes them)"
		return
	fi
	rm -rf "$home/pictures" "$home/pictures.new" "$home/source" "$home/model.safetensors" "$home/settings"
	mkdir -p "$home/pictures.new"
	if [ -n "${IMAGES:-}" ]; then
		note "taking those below $IMAGES, one class per folder; every tenth is held out"
		[ -d "$IMAGES" ] || fail "IMAGES=$IMAGES is not a folder"
		split_pictures "$IMAGES"
	elif [ "${DATASET:-synth}" = synth ]; then
		note "drawing labelled scenes (make quickstart IMAGES=dir takes your own)"
		quietly synth.log "$train" synth --classes 10 --per-class 320 --seed 1 "$home/source"
		split_pictures "$home/source"
	elif [ "$DATASET" = cifar10 ]; then
		note "writing the 10,000 test pictures of CIFAR-10 as JPEG files; every tenth is held out"
		[ -e "$data/cifar10.med.xz" ] || [ -e "$data/test_batch.bin" ] ||
			fail "there is no CIFAR-10 in $data" "set DEEPHASH_DATA to the folder that holds it"
		quietly images.log "$train" images --data "cifar10:$data:test" --out "$home/source"
		split_pictures "$home/source"
	else
		fail "unknown DATASET=$DATASET" "there are cifar10 and synth; your own pictures: IMAGES=dir"
	fi
	mv "$home/pictures.new" "$home/pictures"
	settings >"$home/settings"
}

split_pictures() {
	perl doc/quickstart/split.pl "$1" "$home/pictures.new" || {
		failed=1
		exit 1
	}
}

train_model() {
	local from=folder:$home/pictures/database
	[ "${DATASET:-}" != cifar10 ] || [ -n "${IMAGES:-}" ] || from=cifar10:$data:train
	if [ -f "$home/model.safetensors" ]; then
		note "the model of the last run is kept (make quickstart-clean removes it)"
	else
		note "deephash-train train --data $from --bits 64 --minutes ${MINUTES:-2}"
		"$train" train --data "$from" --bits 64 --minutes "${MINUTES:-2}" --protocol none \
			--checkpoint "$home/model.checkpoint" --out "$home/model.new" 2>&1 | sed -u 's/^/   /'
		mv "$home/model.new" "$home/model.safetensors"
		rm -f "$home/model.checkpoint"
	fi
	chmod a+r "$home/model.safetensors"
}

# ----------------------------------------------------------------------- server

# The socket: in the quick start's folder when its path is short enough.
socket_dir() {
	if [ ${#home} -lt 80 ]; then echo "$home/socket"; else echo "/tmp/deephash-quickstart.$(id -u).$(printf '%s' "$home" | cksum | cut -d' ' -f1)"; fi
}

stop_server() {
	[ -f "$home/data/postmaster.pid" ] || return 0
	(cd / && as_server "$bin/pg_ctl" -D "$home/data" -m fast -w stop) >/dev/null 2>&1 || true
}

start_server() {
	local socket version
	socket=$(socket_dir)
	version=$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
	stop_server # the library it has loaded may be an older one
	[ ! -f "$home/data/PG_VERSION" ] || [ "$(cat "$home/data/PG_VERSION")" = "$version" ] || rm -rf "$home/data"
	mkdir -p "$home/data" "$socket"
	chmod 700 "$home/data" "$socket"
	[ "$(id -u)" != 0 ] || chown "$server_user" "$home/data" "$socket"
	if [ ! -f "$home/data/PG_VERSION" ]; then
		(cd / && quietly initdb.log as_server "$bin/initdb" -D "$home/data" -A trust -U postgres -E UTF8 --locale=C)
	fi
	# Nobody but this user (and root) may enter the socket's folder, which is
	# why the server asks for no password.
	cat >"$home/data/postgresql.auto.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$socket'
unix_socket_permissions = 0700
port = $port
CONF
	[ "$(id -u)" != 0 ] || chown "$server_user" "$home/data/postgresql.auto.conf"
	(cd / && as_server "$bin/pg_ctl" -D "$home/data" -l "$home/data/server.log" -w start) >/dev/null ||
		fail "the server did not start, see $home/data/server.log"
}

connect_command() { echo "psql -h $(socket_dir) -p $port -U postgres quickstart"; }

# psql on the quick start's database; without the user's own settings.
sql() { "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$(socket_dir)" -p $port -U postgres -d quickstart "$@"; }

# ask DATABASE QUERY: its bare answer.
ask() { "$bin/psql" -X -q -At -v ON_ERROR_STOP=1 -h "$(socket_dir)" -p $port -U postgres -d "$1" -c "$2"; }

# Show the statements of the standard input, and run them.
show_sql() {
	local text
	text=$(cat)
	printf '%s\n' "$text" | sed "s/^/   $dim/; s/\$/$plain/"
	printf '%s\n' "$text" | sql -P pager=off -P footer=off | sed '/^$/d; s/^/   /'
}

# fill_table TABLE FOLDER: insert the pictures of a folder of class folders.  One
# that cannot be decoded is told of and left out, as training does.
fill_table() {
	local begun=$SECONDS n bad took
	n=$(count "$2")
	perl doc/quickstart/copy.pl "$2" |
		sql -q -c "SET deephash.bad_image = 'warning'" -c "COPY $1 (class, name, jpeg) FROM STDIN"
	took=$((SECONDS - begun))
	bad=$(ask quickstart "WITH gone AS (DELETE FROM $1 WHERE code IS NULL RETURNING 1) SELECT count(*) FROM gone")
	[ "$bad" = 0 ] || note "$bad of $n could not be decoded (see above) and were left out"
	n=$((n - bad))
	note "$n pictures encoded and inserted in $took s ($((n / (took > 0 ? took : 1))) per second)"
}

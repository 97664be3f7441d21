#!/bin/bash
# quickstart.sh: the main job of deephash on this machine, from JPEGs to exact
# search in SQL, in a private folder.  `make quickstart` calls it.
#
#   IMAGES=dir        your own pictures: a folder with one folder per class
#   DATASET=cifar10   CIFAR-10, where the folder DEEPHASH_DATA holds it
#                     (neither: synthetic scenes are drawn)
#   MINUTES=n         train longer or shorter than the usual two
#   QUICKSTART=dir    where everything goes (default: .quickstart in the project)
#
# Run it again and it keeps pictures and model but makes the database anew;
# `make quickstart-clean` removes everything.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
. test/lib.sh
. doc/quickstart/lib.sh
trap 'explain_failure $?' EXIT

start=$SECONDS
say "deephash quick start: from pictures to exact nearest neighbours in SQL"

step "Packages and build"
note "what deps.txt lists is installed if it is missing; then everything is compiled"
check_disk "$top" 800
test/deps.sh
quietly build.log make --no-print-directory -s -j"$(nproc)" tree
require_server_user
choose_home
train=$top/build/bin/deephash-train

step "Pictures"
get_pictures
note "$(count "$home/pictures/database") pictures for the table, $(count "$home/pictures/query") held out as queries"
note "in $(find "$home/pictures/database" -mindepth 1 -maxdepth 1 -type d | wc -l) classes: $(ls "$home/pictures/database" | head -12 | paste -sd' ')"

step "Training a network that turns a picture into 64 bits"
train_model

step "A private PostgreSQL server"
start_server
note "PostgreSQL $(ask postgres 'SHOW server_version') with its data in $home/data, listening on a socket only"

step "Extension, model, table and trigger"
ask postgres 'DROP DATABASE IF EXISTS quickstart' >/dev/null 2>&1
ask postgres 'CREATE DATABASE quickstart' >/dev/null
show_sql <<SQL
CREATE EXTENSION deephash;
SELECT deephash_load_model('quickstart', '$home/model.safetensors');
CREATE TABLE photo (id int GENERATED ALWAYS AS IDENTITY, class text, name text, jpeg bytea, code hashcode(64));
CREATE TRIGGER photo_code BEFORE INSERT OR UPDATE OF jpeg ON photo
  FOR EACH ROW EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code', 'quickstart');
SQL

step "Inserting the pictures; the trigger encodes each"
fill_table photo "$home/pictures/database"
show_sql <<SQL
SELECT id, class, name, length(jpeg) AS bytes, code FROM photo ORDER BY id LIMIT 3;
CREATE INDEX photo_code_mih ON photo USING mih (code);
ANALYZE photo;
SQL

step "Queries: pictures that neither training nor the table has seen"
ask quickstart 'CREATE TABLE query (LIKE photo INCLUDING IDENTITY)' >/dev/null
ask quickstart "CREATE TRIGGER query_code BEFORE INSERT ON query FOR EACH ROW
	EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code', 'quickstart')" >/dev/null
fill_table query "$home/pictures/query"
sql -f doc/quickstart/neighbours.sql | indent

step "How the database finds them"
sql -f doc/quickstart/explain.sql | indent

step "A page to look at"
sql -At -F $'\t' -f doc/quickstart/results.sql -o "$home/results.tsv"
quietly sheet.log "$train" sheet --root "$home/pictures" --title "deephash quick start" --about \
	"Each query (left) is a picture that neither the network's training nor the table has seen; beside it its ten nearest by Hamming distance between 64-bit codes." \
	"$home/results.tsv" "$home/sheet.html"
note "$home/sheet.html: each query with its ten nearest pictures; open it in a browser"

say "Done in $((SECONDS - start)) seconds. The server keeps running."
cat <<END

  connect:  $(connect_command)
  try:      SELECT id, class, code <~> (SELECT code FROM query WHERE id = 1) AS distance
            FROM photo ORDER BY distance LIMIT 10;
  look at:  $home/sheet.html
  remove:   make quickstart-clean${QUICKSTART:+ QUICKSTART=$QUICKSTART}

END
trap - EXIT

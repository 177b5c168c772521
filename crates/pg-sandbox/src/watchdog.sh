# Runs a private Postgres while standard input is open, then stops it and removes its folder.
#
#   sh -c THIS entraway-pg FOLDER BIN INITDB_SYNC_FLAG [postgres arguments...]
#
# The owner holds the other end of standard input and never writes to it. When the owner exits, even by kill -9, the
# kernel closes that end and `read` below returns end of file. This needs no signal and no exit hook, which a crash
# would skip. This script creates the folder, not the owner, so that the folder never exists without a process that
# removes it.

# Only the end of standard input stops this script. Ctrl-C is for the owner, and this script must outlive it.
trap '' INT TERM HUP QUIT
umask 077
# A Postgres that is killed must not leave a core file.
# shellcheck disable=SC3045 # not in POSIX, but in every sh that we run on
ulimit -c 0

folder=$1
bin=$2
initdb_sync=$3
shift 3

# Fails if the path exists, so that no other user can prepare the folder.
mkdir "$folder" || exit 1
# So far, errors went to the owner. After its exit, a write to that pipe would kill this script.
exec >>"$folder/log" 2>&1

# Neither `exec` nor `wait` for a process ID: the file `ended` tells this script and the owner that Postgres has exited.
serve() {
    if "$bin/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C \
        ${initdb_sync:+"$initdb_sync"} && [ ! -e "$folder/ending" ]; then
        "$bin/postgres" -D "$folder/data" "$@"
    fi
    : >"$folder/ended"
}
serve "$@" </dev/null &

while read -r _; do :; done

: >"$folder/ending"
tries=0
# Repeat the signal, to the whole process group: one that arrives before initdb or Postgres has installed its handlers
# is lost, and either may be running. INT is Postgres's fast shutdown.
while [ ! -e "$folder/ended" ] && [ "$tries" -lt 500 ]; do
    if [ "$tries" -lt 250 ]; then kill -INT 0; else kill -QUIT 0; fi
    sleep 0.02 || sleep 1
    tries=$((tries + 1))
done
if [ ! -e "$folder/ended" ]; then
    read -r pid <"$folder/data/postmaster.pid" && kill -KILL "$pid"
    # Postgres's child processes detect its death and exit.
    sleep 1
    rm -rf "$folder"
    kill -KILL 0
fi
rm -rf "$folder"

# Runs a private Postgres for as long as standard input stays open, then stops it and removes its folder.
#
#   sh -c THIS entraway-pg FOLDER BIN INITDB_SYNC_FLAG [postgres arguments...]
#
# The owner holds the other end of standard input and never writes to it. However the owner ends, kill -9
# included, the kernel closes that end and `read` below sees the end of file: no signal, no exit hook, no
# clean-up that a crash could skip. The folder is made here, not by the owner, so that there is no moment at
# which it exists without somebody to remove it.

# The owner's end is the only signal. Ctrl-C is for the owner, and we are to outlive it.
trap '' INT TERM HUP QUIT
umask 077
# A database that is stopped the hard way shall not leave a core file somewhere.
# shellcheck disable=SC3045 # not in POSIX, but in every sh that we run on
ulimit -c 0

folder=$1
bin=$2
initdb_sync=$3
shift 3

# Fails if anything is there already, so nobody can put a folder of theirs in our way.
mkdir "$folder" || exit 1
# Until here an error went to the owner. Once that is gone, a word to it would be our end.
exec >>"$folder/log" 2>&1

# Not `exec`, and no `wait` for a process id: the file `ended` tells both us and the owner that this is over.
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
# Again and again, to our whole process group: a signal that arrives before initdb or Postgres has set up its
# handlers is lost, and which of the two is running just now need not be known. INT is Postgres's fast shutdown.
while [ ! -e "$folder/ended" ] && [ "$tries" -lt 500 ]; do
    if [ "$tries" -lt 250 ]; then kill -INT 0; else kill -QUIT 0; fi
    sleep 0.02 || sleep 1
    tries=$((tries + 1))
done
if [ ! -e "$folder/ended" ]; then
    read -r pid <"$folder/data/postmaster.pid" && kill -KILL "$pid"
    # Its children notice by themselves that it is gone.
    sleep 1
    rm -rf "$folder"
    kill -KILL 0
fi
rm -rf "$folder"

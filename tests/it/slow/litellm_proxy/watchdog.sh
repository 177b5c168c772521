# Runs a LiteLLM proxy and its Redis until standard input closes, then kills both and removes their folder.
#
#   sh -c THIS entraway-litellm-proxy FOLDER REDIS_PORT COMMAND [ARGUMENTS...]
#
# The test run holds the other end of standard input, which the kernel closes when the run ends for any reason, as in
# crates/pg-sandbox/src/watchdog.sh. KILL goes to the process group, because the proxy starts child processes.

umask 077
folder=$1
redis_port=$2
shift 2
mkdir "$folder" && cd "$folder" || exit 1
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$folder" </dev/null >redis.log 2>&1 &
"$@" </dev/null >log 2>&1 &

while read -r _; do :; done

rm -rf "$folder"
kill -KILL 0

# What the journeys share. A journey is a script that does what the pages say, with the commands and
# files that they show, in an empty directory that has ./sluice in it. Only ports, addresses and paths
# are put in their place. The test gives it ROOT (the repository), PORTS (free ports), NATS_SERVER and
# NGINX_PROGRAM (programs), and OLD_SLUICE (the program of the commit before). It ends at the first thing
# that is not as it should be, which is the last thing that it says.
set -Eeuo pipefail

# On a busy machine the log answers later than a server waits by default. The commands wait for 30 s.
export SLUICE_HTTP_PUBLISH_TIMEOUT=25s

pages="$ROOT/docs"
cause=''
say() { echo "== $*"; }
fail() {
  cause=$*
  exit 1
}
trap 'cause=${cause:-"line $LINENO: $BASH_COMMAND"}' ERR
trap 'fail "it did not end in time, but stood at: $BASH_COMMAND"' INT

# port NAME takes the next free port into a variable.
taken=0
port() {
  taken=$((taken + 1))
  printf -v "$1" '%s' "$(echo "$PORTS" | cut -d' ' -f$taken)"
}

# start NAME COMMAND... runs something until stop NAME, or the end. What it says is in NAME.log.
started=''
start() {
  local name=$1
  shift
  "$@" >>"$name.log" 2>&1 &
  printf -v "pid_$name" '%s' $!
  started="$name $started" # the last one first, at the end
}
# stop NAME [SIGNAL] ends it, and waits for that.
stop() {
  local pid="pid_$1"
  kill -"${2:-TERM}" "${!pid}" 2>/dev/null || true
  wait "${!pid}" 2>/dev/null || true
  printf -v "$pid" '%s' ''
}
finish() {
  local status=$? name pid
  trap - ERR
  trap '' INT
  for name in $started; do
    pid="pid_$name"
    [ -z "${!pid}" ] || kill "${!pid}" 2>/dev/null || true
  done
  for name in $started; do
    pid="pid_$name"
    [ -z "${!pid}" ] || wait "${!pid}" 2>/dev/null || true
    [ "$status" = 0 ] || { echo "--- $name"; tail -n 12 "$name.log" | cut -c -300; }
  done
  [ "$status" = 0 ] || echo "=== $(basename "$0"): ${cause:-it ended with $status}"
  exit "$status"
}
trap finish EXIT

# await WHAT COMMAND... repeats it until it succeeds.
await() {
  local what=$1 until=$((SECONDS + 180))
  shift
  until "$@" >await.out 2>&1; do
    [ $SECONDS -lt $until ] || fail "it does not come to pass that $what: $(tail -n 3 await.out)"
    sleep 0.1
  done
}

# says PATTERN COMMAND... runs it and looks for a pattern in all that it says.
says() {
  local pattern=$1
  shift
  "$@" >said.out && grep -qi -- "$pattern" said.out
}

# block PAGE HEADING N is the Nth block of code below a heading.
block() {
  awk -v heading="$2" -v want="$3" '
    /^#/ { inside = index($0, heading) > 0; n = 0; next }
    inside && /^```/ { open = !open; if (open) n++; next }
    inside && open && n == want' "$pages/$1"
}

# numbers FROM TO [PAUSE] says them one after the other, as events to publish.
numbers() {
  local i
  for ((i = $1; i <= $2; i++)); do
    echo "$i"
    sleep "${3:-0.01}"
  done
}

# got_all NAME N waits for the subscriber NAME, which is to have 1 to N, each once and in order, in NAME.json.
got_all() {
  local pid="pid_$1"
  wait "${!pid}" || fail "$1 failed: $(tail -n 3 "$1.log")"
  has_all "$1.json" "$2"
}
has_all() {
  sed -n 's/.*"data":"\([0-9]*\)".*/\1/p' "$1" >numbers.out
  cmp -s numbers.out <(seq "$2") || fail "$1 is not 1 to $2 in order: $(diff numbers.out <(seq "$2") | head -n 8 | tr '\n' ' ')"
}

# certificate makes tls.crt and tls.key for localhost, by an authority of this directory (ca.crt).
certificate() {
  local ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
  [ -f ca.crt ] || openssl req -x509 $ec -days 90 -keyout ca.key -out ca.crt -subj '/CN=authority of a journey' 2>/dev/null
  openssl req $ec -keyout new.key -out new.csr -subj /CN=localhost 2>/dev/null
  openssl x509 -req -in new.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 60 -out new.crt \
    -extfile <(echo 'subjectAltName=DNS:localhost,IP:127.0.0.1') 2>/dev/null
  cat ca.crt >>new.crt
  mv new.key tls.key
  mv new.crt tls.crt
}

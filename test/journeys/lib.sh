# What the journeys share. A journey is a script that does what the pages say, with the commands and
# files that they show, in an empty directory that has ./sluice in it. Only ports, addresses and paths
# are put in their place. The test gives it ROOT (the repository), PORTS (free ports), NATS_SERVER and
# NGINX_PROGRAM (programs), and OLD_SLUICE (the program of the commit before). It ends at the first thing
# that is not as it should be.
set -euo pipefail

pages="$ROOT/docs"
say() { echo "== $*"; }
fail() { echo "journey: $*" >&2; exit 1; }

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
  for name in $started; do
    pid="pid_$name"
    [ -z "${!pid}" ] || kill "${!pid}" 2>/dev/null || true
  done
  for name in $started; do
    pid="pid_$name"
    [ -z "${!pid}" ] || wait "${!pid}" 2>/dev/null || true
    [ "$status" = 0 ] || { echo "--- $name"; tail -n 12 "$name.log"; }
  done
  exit "$status"
}
trap finish EXIT

# await WHAT COMMAND... repeats it until it succeeds.
await() {
  local what=$1 tries=0
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "it does not come to pass that $what"
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

# has_all FILE N tells whether a subscriber with --json got 1 to N, each once and in order.
has_all() {
  sed -n 's/.*"data":"\([0-9]*\)".*/\1/p' "$1" | cmp - <(seq "$2") || { echo "$1 has $(wc -l <"$1") lines"; return 1; }
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

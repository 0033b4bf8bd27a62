#!/usr/bin/env bash
# docs/operations.md, "Exchanging keys": an app of one server gets another key and secret while it is
# published and listened to. No publish fails, with the old key or the new one.
. "$ROOT/test/journeys/lib.sh"
port web
export SLUICE_METRICS_PORT=-1 SLUICE_SHUTDOWN_READY_DELAY_SECONDS=0
file() {
  printf 'mode: production\nhost: 127.0.0.1\nport: %s\nadapter: {driver: local}\nconnection_recovery: {enabled: true}\napps:\n  - id: "4711"\n' "$web"
  cat
}
old='--app 4711 --key old-key --secret old-secret-of-mine'
new='--app 4711 --key new-key --secret new-secret-of-mine'
printf '    key: old-key\n    secret: old-secret-of-mine\n' | file >sluice.yaml
start server ./sluice --config sluice.yaml
to="--url http://127.0.0.1:$web"
await 'it is ready' ./sluice health $to
start reader sh -c "exec ./sluice subscribe orders --json --count 300 $to $old >reader.json"
await 'it is subscribed' grep -q '^subscribed' reader.log
start publisher sh -c "seq 200 | while read n; do echo \$n; sleep 0.02; done | ./sluice publish orders --lines --quiet $to $old"
# The file of the page, with secrets in it.
later=$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)
printf '    key: new-key\n    secret: new-secret-of-mine\n    previous_keys:\n      - {key: old-key, secret: old-secret-of-mine, until: %s}\n' "$later" | file >next.yaml
./sluice config --config next.yaml --check
mv next.yaml sluice.yaml
works() { ./sluice channels $to $new; }
await 'the new key counts' works
wait "$pid_publisher" || fail "a publish with the old key failed: $(tail -n 3 publisher.log)"
numbers 201 300 | ./sluice publish orders --lines --quiet $to $new || fail 'a publish with the new key failed'
got_all reader 300
# Without the entry the old key lets nobody in.
printf '    key: new-key\n    secret: new-secret-of-mine\n' | file >next.yaml
mv next.yaml sluice.yaml
gone() { ! ./sluice channels $to $old; }
await 'the old key counts no more' gone

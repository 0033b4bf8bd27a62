#!/usr/bin/env bash
# README.md and docs/proxies.md: three gateways on three NATS servers behind nginx with TLS. Then one
# of the gateways is lost: docs/operations.md, "What a failure looks like".
. "$ROOT/test/journeys/cluster.sh"
cluster_up
for i in 1 2 3; do listen "reader$i" 300; done
say 'publishing through nginx while a gateway is killed'
publish() {
  # What is not answered is published again under the same key, as the page says.
  local n=$1 tries=0
  until ./sluice publish orders "$n" --quiet --idempotency-key "n-$n" $(to) 2>>publisher.err; do
    tries=$((tries + 1))
    [ $tries -lt 50 ] || fail "$n is not published: $(tail -n 2 publisher.err)"
    sleep 0.1
  done
}
numbers 1 150 0 | ./sluice publish orders --lines --quiet $(to)
for n in $(seq 151 155); do publish "$n"; done
stop gateway2 KILL
for n in $(seq 156 170); do publish "$n"; done
numbers 171 300 0 | ./sluice publish orders --lines --quiet $(to) || fail 'publishing does not go on'
for i in 1 2 3; do got_all "reader$i" 300; done
gateway 2

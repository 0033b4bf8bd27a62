#!/usr/bin/env bash
# README.md: build, run, subscribe, publish; the past is there after a kill -9.
. "$ROOT/test/journeys/lib.sh"
port web; port metrics; port nats
export SLUICE_URL="127.0.0.1:$web" SLUICE_PORT="$web" SLUICE_METRICS_PORT="$metrics" SLUICE_NATS_EMBEDDED_PORT="$nats" SLUICE_NATS_EMBEDDED_STORE_DIR="$PWD/data"
start server ./sluice
await 'it is ready' ./sluice health
grep -q 'Sluice is running' server.log || fail 'there is no first screen'
start subscriber sh -c 'exec ./sluice subscribe lobby --json --count 1 >got.json'
await 'it is subscribed' grep -q '^subscribed' subscriber.log
start stream curl -sN "http://127.0.0.1:$web/app/app-key/events?channel=lobby&since=10"
await 'the stream has begun' grep -q 'event: subscribed' stream.log
./sluice publish lobby '{"hello":"world"}' --event greeting
await 'the event comes' grep -q 'hello' got.json
await 'the stream has it' grep -q 'greeting' stream.log
says '<title>' curl -sf "http://127.0.0.1:$web/" || fail 'there is no page'
stop server KILL
start server ./sluice
await 'it is back' ./sluice health
says world ./sluice history lobby || fail 'the past is gone after kill -9'
says world ./sluice subscribe lobby --rewind 10 --count 1 --full || fail 'the past is not rewound'
says world ./sluice replay lobby --from -1h --speed 10 || fail 'the past is not replayed'

#!/usr/bin/env bash
# docs/deploy.md: two gateways with the log on Redis, from the files of configs/deploy/compose.
. "$ROOT/test/journeys/lib.sh"
port redis; port one; port two
sed -e "s|^dir /data|dir $PWD|" "$ROOT/configs/deploy/compose/redis.conf" >redis.conf
start redis redis-server redis.conf --port "$redis" --bind 127.0.0.1
for i in one two; do
  sed -e "s|@redis:6379|@127.0.0.1:$redis|; s|host: 0.0.0.0|host: 127.0.0.1|; s|drain_seconds: 30|drain_seconds: 5|" "$ROOT/configs/deploy/compose/gateway-redis.yaml" >"$i.yaml"
  printf 'port: %s\nmetrics: {port: -1}\n' "${!i}" >>"$i.yaml"
  sed -i 's|^shutdown:|shutdown:\n  ready_delay_seconds: 0|' "$i.yaml"
  start "gateway_$i" ./sluice --config "$i.yaml"
done
await 'the first is ready' ./sluice health --config one.yaml
await 'the second is ready' ./sluice health --config two.yaml
start reader sh -c 'exec ./sluice subscribe orders --config two.yaml --json --count 50 >reader.json'
await 'it is subscribed' grep -q '^subscribed' reader.log
numbers 1 50 | ./sluice publish orders --lines --quiet --config one.yaml
got_all reader 50
stop gateway_one
./sluice subscribe orders --config two.yaml --rewind 50 --json --count 50 >past.json
has_all past.json 50

#!/usr/bin/env bash
# docs/operations.md, "Upgrade": from the release before to this one, one gateway after the other,
# under load and behind nginx. No publish fails, and who listens gets everything.
. "$ROOT/test/journeys/cluster.sh"
cluster_up "$OLD_SLUICE"
for i in 1 2; do listen "reader$i" 900; done
start publisher sh -c "seq 900 | while read n; do echo \$n; sleep 0.025; done | ./sluice publish orders --lines --quiet $(to)"
for i in 1 2 3; do
  say "gateway $i"
  stop "gateway$i"
  gateway "$i"
  [ "$i" = 3 ] || sleep 5.5 # the page: as long as nginx leaves a gateway alone that it could not reach
done
wait "$pid_publisher" || fail "a publish failed during the upgrade: $(tail -n 3 publisher.log)"
for i in 1 2; do got_all "reader$i" 900; done

#!/usr/bin/env bash
# docs/deploy.md, "TLS": one server with fresh secrets and a certificate, which is renewed while it
# is published.
. "$ROOT/test/journeys/lib.sh"
port web; port plain; port metrics; port nats
certificate
./sluice init sluice.yaml
# The block of the page, with ports and paths of this directory. `init` has a port already.
sed -i '/^port:/d' sluice.yaml
block deploy.md '## TLS' 1 | sed -e "s|port: 443|port: $web|; s|http_port: 80|http_port: $plain|; s|/etc/sluice|$PWD|" >>sluice.yaml
export SLUICE_METRICS_PORT="$metrics" SLUICE_NATS_EMBEDDED_PORT="$nats" SLUICE_NATS_EMBEDDED_STORE_DIR="$PWD/data" SLUICE_SHUTDOWN_READY_DELAY_SECONDS=0
./sluice config --config sluice.yaml --check
start server ./sluice --config sluice.yaml
await 'it is ready' ./sluice health --config sluice.yaml
grep -q 'connections are not encrypted' server.log && fail 'it warns although it has TLS'
start reader sh -c 'exec ./sluice subscribe orders --config sluice.yaml --json --count 200 >reader.json'
await 'it is subscribed' grep -q '^subscribed' reader.log
serial() { openssl s_client -connect "127.0.0.1:$web" -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -serial; }
before=$(serial)
start publisher sh -c "seq 200 | while read n; do echo \$n; sleep 0.02; done | ./sluice publish orders --lines --quiet --config sluice.yaml"
certificate
another() { [ "$(serial)" != "$before" ]; }
await 'the new certificate is presented' another
wait "$pid_publisher" || fail "a publish failed while the certificate was renewed: $(tail -n 3 publisher.log)"
got_all reader 200
says "^308 https://localhost:$web/" curl -s -o /dev/null -w '%{http_code} %{redirect_url}\n' "http://localhost:$plain/" || fail 'plain HTTP is not sent to https'
says '^2' curl -sf --http2 --cacert ca.crt -o /dev/null -w '%{http_version}\n' "https://localhost:$web/ready" || fail 'there is no HTTP/2'

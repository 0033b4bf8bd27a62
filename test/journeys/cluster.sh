# Three gateways on three NATS servers behind nginx with TLS, from the files that are shipped:
# configs/deploy/compose and configs/samples/proxies.
. "$ROOT/test/journeys/lib.sh"

app='--app 4711 --key change-this-key --secret change-this-secret'
to() { echo "--url https://localhost:$front --ca-file ca.crt $app"; }

nats_up() {
  local i
  for i in 1 2 3; do port "nats_$i"; port "route_$i"; done
  for i in 1 2 3; do
    local own="nats_$i" route="route_$i"
    sed -e "s|0.0.0.0:4222|127.0.0.1:${!own}|; s|0.0.0.0:6222|127.0.0.1:${!route}|; /^http:/d; s|/data|$PWD/nats-$i|" \
      -e "s|nats://nats-1:6222|nats://127.0.0.1:$route_1|; s|nats://nats-2:6222|nats://127.0.0.1:$route_2|; s|nats://nats-3:6222|nats://127.0.0.1:$route_3|" \
      "$ROOT/configs/deploy/compose/nats.conf" >"nats-$i.conf"
    start "nats$i" "$NATS_SERVER" -c "nats-$i.conf" --name "nats-$i"
  done
}

# gateway_file I is the configuration of a gateway behind the proxy of this machine. docs/quickstart.md
# says what lets clients get what they missed.
gateway_file() {
  local own="gate_$1"
  sed -e "s|host: 0.0.0.0|host: 127.0.0.1|; s|nats-1:4222|127.0.0.1:$nats_1|; s|nats-2:4222|127.0.0.1:$nats_2|; s|nats-3:4222|127.0.0.1:$nats_3|" \
    "$ROOT/configs/deploy/compose/gateway.yaml" >"gateway-$1.yaml"
  sed -i -e "s|  drain_seconds: 30|  drain_seconds: 3\n  ready_delay_seconds: 1|; s|  token: change-this-metrics-token|  port: -1|" "gateway-$1.yaml"
  printf 'port: %s\ntrusted_proxies: [127.0.0.1]\nproxy_header: x-forwarded-for\nconnection_recovery: {enabled: true, max_buffer_size: 1000}\n' "${!own}" >>"gateway-$1.yaml"
}

# gateway I [PROGRAM] runs one until it is ready.
gateway() {
  start "gateway$1" "${2:-./sluice}" --config "gateway-$1.yaml"
  await "gateway $1 is ready" ./sluice health --config "gateway-$1.yaml"
}

nginx_up() {
  port front
  {
    echo "pid $PWD/nginx.pid; error_log $PWD/nginx.err; worker_rlimit_nofile 4096; daemon off;"
    [ "$(id -u)" != 0 ] || echo 'user root;'
    echo 'events { worker_connections 1024; }'
    echo "http { access_log off; client_body_temp_path $PWD/body; proxy_temp_path $PWD/temp;"
    echo "fastcgi_temp_path $PWD/fastcgi; uwsgi_temp_path $PWD/uwsgi; scgi_temp_path $PWD/scgi;"
    sed -e "s|    server 10.0.0.11:6001 |    server 127.0.0.1:$gate_3 max_fails=1 fail_timeout=5s;\n    server 127.0.0.1:$gate_1 |; s|10.0.0.12:6001|127.0.0.1:$gate_2|" \
      -e "s|listen 443 ssl|listen 127.0.0.1:$front ssl|; s|realtime.example.com|localhost|" \
      -e "s|/etc/nginx/realtime|$PWD/tls|" "$ROOT/configs/samples/proxies/nginx.conf"
    echo '}'
  } >nginx.conf
  start nginx "$NGINX_PROGRAM" -e "$PWD/nginx.err" -c "$PWD/nginx.conf"
}

# cluster_up [PROGRAM] runs all of it.
cluster_up() {
  local i
  certificate
  nats_up
  for i in 1 2 3; do port "gate_$i"; done
  for i in 1 2 3; do gateway_file "$i"; done
  for i in 1 2 3; do start "gateway$i" "${1:-./sluice}" --config "gateway-$i.yaml"; done
  for i in 1 2 3; do await "gateway $i is ready" ./sluice health --config "gateway-$i.yaml"; done
  nginx_up
  await 'nginx passes on' ./sluice health --url "https://localhost:$front" --ca-file ca.crt
}

# listen NAME N subscribes through nginx until N events have come, into NAME.json.
listen() {
  start "$1" sh -c "exec ./sluice subscribe orders --json --count $2 $(to) >$1.json"
  await "$1 is subscribed" grep -q '^subscribed' "$1.log"
}

package main

import (
	"log/slog"
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/configs"
)

// TestALogThatCountsCanDoTheRest: a node gets a log with every optional ability of the configured log,
// whether events are counted for the cluster or not. A missing ability would be noticed only when it is used.
func TestALogThatCountsCanDoTheRest(t *testing.T) {
	abilities := []reflect.Type{
		reflect.TypeFor[broker.Caster](), reflect.TypeFor[broker.Eraser](), reflect.TypeFor[broker.Listing](), reflect.TypeFor[broker.Ranking](),
	}
	for _, coordinate := range []string{"false", "true"} {
		c, err := configs.Load(configs.Sources{File: writeFile(t, "c.yaml",
			"adapter.driver: redis\nredis_url: redis://127.0.0.1\ndelta_compression.cluster_coordination: "+coordinate+"\napps: [{id: a, key: k, secret: s}]\n")})
		if err != nil {
			t.Fatal(err)
		}
		has := &redis.Log{}
		got := nodeOptions(c, &backend{log: has}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()).Log
		for _, ability := range abilities {
			if reflect.TypeOf(has).Implements(ability) && !reflect.TypeOf(got).Implements(ability) {
				t.Errorf("cluster_coordination: %s: the log of the node is no broker.%s", coordinate, ability.Name())
			}
		}
	}
}

package redis

import (
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/kvtest"
	"github.com/sluicehq/sluice/test/redisserver"
)

func TestTable(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Table { return tableOf(t, redisserver.Start(t).URL(), false) })
}

func TestTableOnCluster(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Table { return tableOf(t, redisserver.StartCluster(t).URL(), true) })
}

func tableOf(t *testing.T, url string, cluster bool) kv.Table {
	table, err := open(t, url, cluster).OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestWork(t *testing.T) {
	for name, cluster := range map[string]bool{"single": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			brokertest.RunWork(t, func(t *testing.T) (one, other broker.Work) {
				url := ""
				if cluster {
					url = redisserver.StartCluster(t).URL()
				} else {
					url = redisserver.Start(t).URL()
				}
				return open(t, url, cluster).OpenWork(), open(t, url, cluster).OpenWork()
			})
		})
	}
}

package streams

import (
	"testing"

	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/kvtest"
)

func TestTable(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Table {
		table, err := open(t, options(node(t, t.TempDir()))).OpenTable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return table
	})
}

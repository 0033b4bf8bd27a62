package kv_test

import (
	"testing"

	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/kvtest"
)

func TestMemoryTable(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Table { return kv.NewMemoryTable(nil) })
}

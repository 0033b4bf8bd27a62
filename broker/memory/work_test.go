package memory

import (
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
)

func TestWork(t *testing.T) {
	brokertest.RunWork(t, func(*testing.T) (broker.Work, broker.Work) {
		w := NewWork()
		return w, w
	})
}

package count_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/sluicehq/sluice/gateway/count"
)

// TestWhatWaitsForTheCountKeepsNoDataAlive: a publication that waits for the count keeps a copy of its
// conflation value, and not the data that contains the value: thousands may wait for each channel.
func TestWhatWaitsForTheCountKeepsNoDataAlive(t *testing.T) {
	for name, begin := range map[string]func(m *count.Machine){
		"while the count is looked up": func(*count.Machine) {},
		"because the log was read from a replica that was behind": func(m *count.Machine) {
			m.Found(count.Answer{State: count.NewInterval(10, 100, time.Minute).Snapshot()}, count.Moment{Here: start, Log: start})
		},
	} {
		m := count.NewMachine(count.Settings{Interval: 10, MaxValues: 100})
		m.Join()
		begin(m)
		publish := func(offset uint64) weak.Pointer[byte] {
			data := fmt.Appendf(make([]byte, 0, 1<<16), `{"k":"value %d"}`, offset)
			value := data[len(`{"k":"`) : len(data)-len(`"}`)]
			p := count.Publication{Offset: offset, Prev: offset - 1, Time: start, Value: unsafe.String(&value[0], len(value))}
			if full, _ := m.Publication(p, start); !full {
				t.Errorf("%s, publication %d is no full one", name, offset)
			}
			return weak.Make(&data[0])
		}
		kept := []weak.Pointer[byte]{publish(7), publish(8)}
		runtime.GC()
		for i, data := range kept {
			if data.Value() != nil {
				t.Errorf("%s, the data of publication %d stays", name, i+1)
			}
		}
		if m.State() != count.Looking {
			t.Errorf("%s, the machine is in state %d", name, m.State())
		}
		runtime.KeepAlive(m)
	}
}

package hub

import "time"

// background runs f in a goroutine that Close waits for. It reports false when the
// hub is closing.
func (h *Hub) background(f func()) bool {
	h.taskMu.Lock()
	defer h.taskMu.Unlock()
	if h.ctx.Err() != nil {
		return false
	}
	h.tasks.Go(f)
	return true
}

// pause waits, and reports false when the hub is closing.
func (h *Hub) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-h.ctx.Done():
		return false
	}
}
